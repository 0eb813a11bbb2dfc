"""Train or fine-tune a Mask2Former that finds whole things of any kind: one class, "entity".

    python -m training.train_detector --base facebook/mask2former-swin-tiny-coco-panoptic --images coco \\
        --out runs/detector --resolution 512 --lr 1e-4 --mixed-precision bf16                       # one GPU
    accelerate launch -m training.train_detector --base FOLDER --images coco --out runs/detector    # several
    python -m training.train_detector --base nano --images photos --validation others --out runs/nano \\
        --decoded-by assets/nano.safetensors --decoded 2400 --mixed-precision bf16 \\
        --unlabelled drawn --smooth-every 10 --colour-jitter                                        # two CPU cores

A picture with an entity map beside it (``NAME_entities.png``, as ``training.prepare_entities`` writes it) brings its
own entities; with ``--unlabelled drawn`` drawn and cut-out things are pasted into any other.  Where maps are few,
``--near`` shows their things from near by and ``--pasted`` puts them into other pictures; where they are incomplete, a
smaller ``--no-object-weight`` punishes less what is found beside them.  ``--decoded-by`` shows
half of the pictures as an autoencoder decodes them, which is how the detector meets them as a judge in YOEO's third
stage.  The file it leaves is one .safetensors with its configuration inside.  A killed run continues when it is started
again with the same ``--out``.
"""

import argparse

import torch

from inpainting_core.checkpoint import read_checkpoint
from inpainting_core.engine import load_vae
from training.data.detector_scenes import EntityScenes, HalfDecoded, decoded_pool, through_autoencoder
from training.data.encoding import Encoder
from training.data.flag_values import above_zero, decay, natural, not_negative, positive, share
from training.data.randomness import sample_generator
from training.data.recipe import ENTITIES_BESIDE, add_images_flags, add_recipe_flags, recipe_of
from training.data.sets import held_out_of
from training.held_out.detections import masks_of, outline_sheet, recall_and_precision
from training.networks.detector import NANO_SIDE, load_network, preprocessing_at
from training.running.best import HeldOut
from training.running.endings import run_script
from training.running.flags import add_batch_flags, add_folder_flags
from training.running.optimisation import ADAM, rates_of
from training.running.run import Run
from training.running.sheets import save_sheet
from yoeo_core.detector import SundryDetector, write_detector


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # where it starts
    parser.add_argument("--base", required=True, help="nano (fresh weights), a .safetensors of ours, or a HF folder")
    # data
    add_images_flags(parser, ENTITIES_BESIDE)
    parser.add_argument("--resolution", type=positive, default=NANO_SIDE, help="side of a picture in px (%(default)s)")
    add_recipe_flags(parser)
    parser.add_argument(
        "--near", type=share, default=0.0, help="share of views around one thing of an entity map (%(default)s)"
    )
    parser.add_argument(
        "--pasted",
        type=share,
        default=0.0,
        help="share of pictures without a map that get things of the others, cut out along theirs (%(default)s)",
    )
    parser.add_argument("--decoded-by", help="erase checkpoint whose autoencoder decodes half the pictures")
    parser.add_argument(
        "--decoded", type=positive, default=2400, help="pictures decoded once and drawn from (%(default)s)"
    )
    # optimisation
    parser.add_argument(
        "--no-object-weight",
        type=not_negative,
        help="weight of a query that nothing is asked of; less where maps are incomplete; left out: the base's own",
    )
    add_batch_flags(parser, steps=3500, batch_size=16, accumulation=1)
    parser.add_argument("--lr", type=not_negative, default=1e-3, help="peak learning rate (%(default)s)")
    parser.add_argument("--warmup", type=natural, default=200, help="steps of linear warm-up; 0: off (%(default)s)")
    parser.add_argument("--weight-decay", type=not_negative, default=0.02)
    parser.add_argument("--clip", type=above_zero, default=5.0, help="largest gradient norm; inf: off (%(default)s)")
    parser.add_argument("--ema", type=decay, default=0.998, help="decay of the averaged weights that are kept; 0: off")
    add_folder_flags(parser, "detector.safetensors")
    return parser.parse_args(argv)


def labels_of(entities: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """What transformers' set loss asks for: each picture's masks, all of class 0."""
    masks = [masks_of(ids).float() for ids in entities]
    return {"mask_labels": masks, "class_labels": [mask.new_zeros(len(mask), dtype=torch.long) for mask in masks]}


def main(args: argparse.Namespace) -> None:
    run = Run(args, "train_detector", needs=("images", "validation", "decoded_by"))  # --base may be a name on a hub
    accelerator, out = run.accelerator, run.out

    # model
    network, preprocessing = (
        load_network(args.base, args.no_object_weight).to(accelerator.device).train(),
        preprocessing_at(args.resolution),
    )
    millions = sum(weight.numel() for weight in network.parameters()) / 1e6
    accelerator.print(f"{args.base}: {millions:.2f} M parameters, {args.resolution} px")

    # data
    length, recipe = args.steps * run.whole_batch, recipe_of(args)

    def make(folder: str, count: int, seed: int, _: int | None) -> EntityScenes:
        return EntityScenes(folder, args.resolution, count, seed, recipe, args.near, args.pasted)

    samples, seen = make(args.images, length, args.seed, None), held_out_of(make, args, 128, seed=0)
    if args.decoded_by:
        checkpoint = read_checkpoint(args.decoded_by)
        encoder = Encoder(load_vae(checkpoint), checkpoint.config, accelerator.device)
        scenes = make(args.images, args.decoded, args.seed + 1, None)
        with accelerator.autocast():
            pool = decoded_pool(scenes, encoder, out / "decoded", args.batch_size, args.workers, accelerator)
            if seen:
                generators = [sample_generator(0, number) for number in range(len(seen["image"]))]
                seen["decoded"] = through_autoencoder(seen["image"], encoder, generators)
        samples = HalfDecoded(samples, pool)

    # optimisation
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.lr, weight_decay=args.weight_decay, **ADAM)
    rates = rates_of(optimizer, args, "cosine")

    def predict(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with accelerator.autocast():
            output = run.kept()(pixel_values=preprocessing(image.to(accelerator.device)))
        scores = output.class_queries_logits.float().softmax(-1)[..., 0]
        return scores.cpu(), output.masks_queries_logits.float().cpu()

    def show(step: int) -> dict[str, float]:
        run.kept().eval()
        numbers = recall_and_precision(predict, seen["image"], seen["entities"])
        if "decoded" in seen:
            decoded = recall_and_precision(predict, seen["decoded"], seen["entities"])
            numbers |= {f"{name}_decoded": number for name, number in decoded.items()}
        save_sheet(outline_sheet(predict, seen["image"][:12], seen["entities"][:12]), out / f"sheets/{step:06d}.jpg")
        run.kept().train()
        return numbers

    (network,) = run.open([network], [optimizer], [rates], HeldOut(show, by="f1"))
    for number, batch in run.batches(samples):
        # the set loss compares masks at random points, which it draws from the global generator
        torch.manual_seed(sample_generator(args.seed, number + 1, accelerator.process_index).initial_seed())
        with accelerator.accumulate(network):
            with accelerator.autocast():
                output = network(pixel_values=preprocessing(batch["image"]), **labels_of(batch["entities"]))
                loss = output.loss.squeeze()
            accelerator.backward(loss)
            run.step({"loss": loss})
        run.save_when_due()

    def write(facts: dict[str, object]) -> None:
        write_detector(out / "detector.safetensors", SundryDetector(run.kept(), preprocessing), training=facts)

    run.finish(write, base=args.base, resolution=args.resolution)


if __name__ == "__main__":
    run_script(parse_args, main)
