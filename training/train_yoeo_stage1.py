"""YOEO stage 1: teach an inpainting UNet to fill holes, by plain noise (or v) prediction.

    python -m training.train_yoeo_stage1 --base sd15_inpaint.safetensors --images photos --out runs/stage1 \\
        --mixed-precision bf16 --gradient-checkpointing                                        # one GPU
    accelerate launch -m training.train_yoeo_stage1 --base sd15_inpaint.safetensors --images photos --out runs/stage1 \\
        --gradient-accumulation 25                                                             # several
    python -m training.train_yoeo_stage1 --base nano --vae runs/vae/vae --images photos --out runs/smoke \\
        --steps 3 --batch-size 2 --gradient-accumulation 1 --unlabelled drawn                   # smoke run on a CPU

``--holes d1`` is YOEO's paired set: no whole entity ever lies in a hole, so the truth never holds a new object.
``--holes any`` is ordinary inpainting and makes a base as SD-Inpaint is one, its habit of drawing objects included.
A killed run continues when it is started again with the same ``--out``.
"""

import argparse
from dataclasses import replace

import torch

from eradiff_core.attention import rectifier
from inpainting_core.checkpoint import DTYPES
from inpainting_core.engine import DiffusersEngine, call_unet
from inpainting_core.latents import UNDER_HOLE, unet_input
from inpainting_core.schedule import PREDICTIONS, Schedule, add_noise, target_of
from inpainting_core.self_attention import self_attention
from inpainting_core.texture import TEXTURES
from training.data.composites import composites_of
from training.data.encoding import Encoder, encoded_by
from training.data.flag_values import above_zero, not_negative, positive, share
from training.data.randomness import normal_like, sample_generator
from training.data.recipe import ENTITIES_BESIDE, add_effects_flag, add_images_flags, add_recipe_flags, recipe_of
from training.data.sets import add_pool_flags, held_out_of, samples_of
from training.held_out.few_steps import look
from training.held_out.parts import in_parts
from training.networks.bases import FRESH, load_networks, save_networks
from training.running.best import HeldOut
from training.running.checkpointing import checkpoint_gradients
from training.running.endings import run_script
from training.running.optimisation import (
    adamw_of,
    add_run_flags,
    hole_importance,
    rates_of,
)
from training.running.run import Run
from training.running.sheets import save_sheet


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # where it starts
    parser.add_argument("--base", required=True, help="nano or small (fresh weights), or a checkpoint to go on from")
    parser.add_argument("--vae", help="folder of training.train_vae, or a nano's checkpoint; only for fresh weights")
    parser.add_argument("--prediction", choices=PREDICTIONS, help="what the UNet gives; left out: as the base")
    parser.add_argument("--under-hole", choices=UNDER_HOLE, help="what it sees in the hole; left out: as the base")
    parser.add_argument("--texture", choices=TEXTURES, help="where its fills have theirs from; left out: as the base")
    parser.add_argument("--draws", type=positive, help="latents that a fill will be the mean of; left out: as the base")
    # data
    add_images_flags(parser, ENTITIES_BESIDE)
    parser.add_argument(
        "--holes", choices=["d1", "any"], default="d1", help="d1: no whole entity inside; any: ordinary"
    )
    parser.add_argument("--resolution", type=positive, help="side of a training picture in px; left out: as the base")
    add_recipe_flags(parser)
    add_effects_flag(parser)
    add_pool_flags(parser)
    parser.add_argument(
        "--timestep-power", type=above_zero, default=1.0, help="t = 1000 u^p; 1: uniform, below 1: noisier"
    )
    parser.add_argument(
        "--rectified", type=share, default=0.0, help="share of passes with SRA on, for small models; 0: off"
    )
    parser.add_argument(
        "--hole-weight", type=not_negative, default=0.0, help="extra loss weight of the hole; 0: plain mean"
    )
    # optimisation and output; the defaults are the authors': batch 10 x 100, 800 steps, AdamW 1e-5 constant
    add_run_flags(parser, steps=800, batch_size=10, lr=1e-5, accumulation=100, dtype="fp32")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    base = () if args.base in FRESH else ("base",)
    run = Run(args, "train_yoeo_stage1", needs=(*base, "vae", "images", "validation"))
    accelerator, out = run.accelerator, run.out

    # model: what a flag leaves open comes from the base
    networks = load_networks(args.base, args.vae)
    chosen = {name: getattr(args, name) for name in ("prediction", "resolution", "under_hole", "texture", "draws")}
    config = replace(networks.config, **{name: value for name, value in chosen.items() if value is not None})
    shown = f"predicts {config.prediction}, {config.resolution} px, sees its hole {config.under_hole}"
    accelerator.print(f"{args.base}: {shown}")
    schedule, encoder = Schedule(), Encoder(networks.vae, config, accelerator.device)
    prompt = networks.empty_prompt.to(accelerator.device)
    unet = networks.unet.to(accelerator.device).train()
    checkpoint_gradients(args.gradient_checkpointing, unet)

    # data; no object lies under the holes that are judged by, so that the truth can be guessed and PSNR says something
    recipe = recipe_of(args)
    make, encode = composites_of(recipe, config, args.holes), encoded_by(encoder, accelerator, "image", "mask")
    samples = samples_of(make, encode, encoder, args, accelerator)
    plain = recipe.as_judged()
    seen = held_out_of(composites_of(plain, config, args.holes), args, 8, seed=0)
    judged = held_out_of(composites_of(plain, config, "d1"), args, 32)

    def show(step: int) -> dict[str, float]:
        engine = DiffusersEngine(config, run.kept(), encoder.vae, prompt)
        with accelerator.autocast():
            rows, _ = look(engine, seen, in_parts(encode, seen))
            _, numbers = look(engine, judged, in_parts(encode, judged))
        save_sheet(rows, out / "sheets" / f"{step:06d}.jpg")
        return numbers

    # optimisation
    optimizer = adamw_of(unet.parameters(), args)
    rates = rates_of(optimizer, args, args.lr_schedule)
    (unet,) = run.open([unet], [optimizer], [rates], HeldOut(show, by="hole_psnr_2_step"))

    for number, batch in run.batches(samples, encode):
        # 1. each sample's own noise and time, drawn by its number
        draws = [sample_generator(args.seed, sample) for sample in batch["number"].tolist()]
        latent, masked, mask = batch["latent"], batch["masked"], batch["mask"]
        noise = normal_like(latent, draws)
        u = torch.cat([torch.rand(1, generator=generator) for generator in draws])
        t = (schedule.steps * u**args.timestep_power).long().clamp(max=schedule.steps - 1)
        signal = schedule.signal[t].to(latent)
        noisy, target = add_noise(latent, noise, signal), target_of(config.prediction, latent, noise, signal)

        # 2. the loss and the step, some of them under the attention that EraDiff samples with
        sra = float(torch.rand((), generator=sample_generator(args.seed, number, 0))) < args.rectified
        rectified, sigma = rectifier(mask, "rectified" if sra else "off"), schedule.sigmas[t].to(latent)
        attention = self_attention(accelerator.unwrap_model(unet), rectified, latent.shape[-2:], sigma)
        with accelerator.accumulate(unet), attention:
            inputs = unet_input(noisy, mask, masked)
            output = call_unet(unet, inputs, t.to(latent.device), prompt)
            loss = ((output.float() - target).square() * hole_importance(mask, args.hole_weight)).mean()
            accelerator.backward(loss)
            run.step({"loss": loss})

        # 3. what is kept of it, and what a person sees
        run.save_when_due()

    def write(facts: dict[str, object]) -> None:
        save_networks(out / "model.safetensors", networks, run.kept(), config, facts, DTYPES[args.dtype])

    run.finish(write, stage="yoeo_stage1", holes=args.holes, before=config.training)


if __name__ == "__main__":
    run_script(parse_args, main)
