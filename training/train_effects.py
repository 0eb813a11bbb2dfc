"""Train the small network that finds an object's shadow, reflection and colour around it.

    python -m training.train_effects --images photos --objects mattes --validation others --out runs/effects \\
        --mixed-precision bf16                                                                       # a CPU core
    accelerate launch -m training.train_effects --images photos --objects mattes --out runs/effects  # several GPUs
    python -m training.train_effects --images photos --objects drawn --out runs/smoke --steps 20     # a smoke run

Its pictures are made: an object is laid onto a photograph with what a model of light says that it does to its
surroundings (``training.data.effects``), and where that is seen is what the network is asked for.  With ``--objects
mattes`` most objects are those of the photographs that ``training.prepare_mattes`` has found one in, with ``drawn`` all
are drawn shapes.  The file it leaves is one .safetensors with its configuration inside.  A killed run continues when it
is started again with the same ``--out``.
"""

import argparse

import torch
from torch import Tensor
from torch.nn import functional as F

from training.data.effect_scenes import EffectScenes
from training.data.flag_values import positive
from training.data.recipe import add_images_flags
from training.data.sets import held_out_of
from training.networks.effect_finder import EffectFinder, FinderConfig, near, write_finder
from training.running.best import HeldOut
from training.running.endings import run_script
from training.running.flags import add_batch_flags, add_folder_flags
from training.running.optimisation import ADAM_EPS, add_fresh_flags, rates_of
from training.running.run import Run
from training.running.sheets import save_sheet

SHOWN = 12  # pictures of a sheet


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # data
    add_images_flags(parser, "NAME_matte.png beside NAME is its object's alpha")
    parser.add_argument("--objects", required=True, choices=["mattes", "drawn"], help="what is laid onto the pictures")
    parser.add_argument("--resolution", type=positive, default=FinderConfig.side, help="side of a picture in px")
    # optimisation
    add_batch_flags(parser, steps=1500, batch_size=16, accumulation=1)
    add_fresh_flags(parser, lr=2e-3, warmup=50, weight_decay=0.01, clip=1.0, ema=0.99)
    add_folder_flags(parser, "effects.safetensors")
    return parser.parse_args(argv)


def finder_loss(logits: Tensor, effect: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy beyond the mask, and one less the overlap (soft Dice): ``[b, 1, s, s]`` to one number a sample."""
    outside = 1 - mask
    entropy = F.binary_cross_entropy_with_logits(logits, effect, weight=outside, reduction="none")
    entropy = entropy.flatten(1).sum(1) / outside.flatten(1).sum(1)
    found = logits.sigmoid() * outside
    both, each = (found * effect).flatten(1).sum(1), (found + effect).flatten(1).sum(1)
    return entropy + 0.5 * (1 - (2 * both + 1) / (each + 1))


def overlaps(found: Tensor, effect: Tensor) -> dict[str, float]:
    """Mean intersection over union where there is an effect, and the share of the picture found where there is none."""
    found, effect = found.flatten(1), effect.flatten(1) > 0.5
    there = effect.any(1)
    union = (found | effect).sum(1)
    return {
        "iou": ((found & effect).sum(1) / union.clamp_min(1))[there].mean().item(),
        "found_of_nothing": found[~there].float().mean().item(),
    }


def main(args: argparse.Namespace) -> None:
    run = Run(args, "train_effects", needs=("images", "validation"))
    accelerator, out = run.accelerator, run.out
    finder = EffectFinder(FinderConfig(args.resolution)).to(accelerator.device)

    def make(folder: str, count: int, seed: int, _: int | None) -> EffectScenes:
        return EffectScenes(folder, args.resolution, count, seed, args.objects == "mattes", out / "left_out.csv")

    samples, seen = make(args.images, args.steps * run.whole_batch, args.seed, None), held_out_of(make, args, 96)
    optimizer = torch.optim.AdamW(finder.parameters(), lr=args.lr, eps=ADAM_EPS, weight_decay=args.weight_decay)
    rates = rates_of(optimizer, args, "cosine")

    @torch.no_grad()
    def show(step: int) -> dict[str, float]:
        inputs = (one.to(accelerator.device) for one in (seen["image"], seen["mask"], near(seen["mask"])))
        parts = zip(*(one.split(args.batch_size) for one in inputs), strict=True)
        found = torch.cat([run.kept()(*part) for part in parts]).cpu().sigmoid() * (1 - seen["mask"])
        rows = [seen["image"], *((seen["mask"] + one).expand(-1, 3, -1, -1) for one in (seen["effect"], found))]
        save_sheet([row[:SHOWN] for row in rows], out / f"sheets/{step:06d}.jpg")
        return overlaps(found > 0.5, seen["effect"])

    (finder,) = run.open([finder], [optimizer], [rates], HeldOut(show, by="iou"))
    for _, batch in run.batches(samples):
        with accelerator.accumulate(finder):
            with accelerator.autocast():
                logits = finder(batch["image"], batch["mask"], near(batch["mask"]))
            loss = finder_loss(logits.float(), batch["effect"], batch["mask"]).mean()
            accelerator.backward(loss)
            run.step({"loss": loss})
        run.save_when_due()

    def write(facts: dict[str, object]) -> None:
        write_finder(out / "effects.safetensors", run.kept(), training=facts)

    run.finish(write, resolution=args.resolution)


if __name__ == "__main__":
    run_script(parse_args, main)
