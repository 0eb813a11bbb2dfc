"""YOEO stage 2: distil the teacher of stage 1 into a student that needs two steps.

    python -m training.train_yoeo_stage2 --teacher runs/stage1/model.safetensors --images photos --out runs/stage2 \\
        --mixed-precision bf16 --gradient-checkpointing                                        # one GPU
    accelerate launch -m training.train_yoeo_stage2 --teacher ... --images photos --out runs/stage2 ...   # several
    python -m training.train_yoeo_stage2 --teacher assets/nano.safetensors --images photos --out runs/smoke \\
        --steps 3 --batch-size 2 --unlabelled drawn --perceptual stlpips_alex                  # smoke run on a CPU

The student starts from the teacher's file.  Its single step is held against what the teacher's 20-step solver makes of
the same noisy latent (LPIPS), against the teacher's score (DMD) and against real latents (GAN); the paired set D1 only.
A killed run continues, to the bit, when it is started again with the same ``--out``.
"""

import argparse
from copy import deepcopy
from dataclasses import replace

import torch
from safetensors.torch import save_file

from inpainting_core.checkpoint import DTYPES
from inpainting_core.engine import DiffusersEngine
from training.data.composites import composites_of
from training.data.encoding import Encoder, encoded_by
from training.data.flag_values import natural, positive
from training.data.randomness import sample_generator
from training.data.recipe import ENTITIES_BESIDE, add_effects_flag, add_images_flags, add_recipe_flags, recipe_of
from training.data.sets import add_pool_flags, held_out_of, samples_of
from training.held_out.few_steps import look
from training.held_out.parts import in_parts
from training.networks.bases import load_networks, save_networks
from training.networks.discriminators import OURS, check_views
from training.networks.perceptual import DISTANCES, perceptual_net
from training.running.best import HeldOut
from training.running.checkpointing import checkpoint_gradients
from training.running.distilling import (
    Denoiser,
    Distillation,
    Draw,
    add_distilling_flags,
    following_loss,
    middle_channels,
)
from training.running.endings import run_script
from training.running.optimisation import (
    adamw_of,
    add_run_flags,
    frozen_dtype,
    rates_of,
)
from training.running.record import without_flags
from training.running.run import Run
from training.running.sheets import save_sheet
from yoeo_core.discriminator import Discriminator
from yoeo_core.distillation import STEPS_PER_PHASE, draw_start, phase, reweighed


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # where it starts
    parser.add_argument("--teacher", required=True, help="stage 1's file; the student starts from it too")
    parser.add_argument("--base", help="whole checkpoint that a teacher is laid over which is a UNet alone")
    # data
    add_images_flags(parser, ENTITIES_BESIDE)
    parser.add_argument(
        "--resolution", type=positive, help="side of a training picture in px; left out: as the teacher"
    )
    add_recipe_flags(parser)
    add_effects_flag(parser)
    add_pool_flags(parser)
    # the losses
    parser.add_argument("--perceptual", choices=sorted(DISTANCES), default="lpips_vgg", help="(%(default)s)")
    add_distilling_flags(parser)
    parser.add_argument(
        "--steps-per-phase", type=natural, default=STEPS_PER_PHASE, help="of the four; 0: always the last (%(default)s)"
    )
    parser.add_argument("--separate-fake", action="store_true", help="a fake score of its own (DMD2), not the student")
    # the authors': batch 7, 15,000 steps, AdamW 1e-5 constant for both
    add_run_flags(parser, steps=15_000, batch_size=7, lr=1e-5, accumulation=1, dtype="fp32")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    run = Run(args, "train_yoeo_stage2", needs=("teacher", "base", "images", "validation"))
    accelerator, out, device = run.accelerator, run.out, run.accelerator.device
    distance = perceptual_net(args.perceptual).to(device)  # first: it may have to be fetched

    # networks: a frozen teacher, a student and a discriminator that learn, perhaps a fake score that follows
    networks = load_networks(args.teacher, base=args.base)
    config = replace(networks.config, resolution=args.resolution or networks.config.resolution)
    accelerator.print(f"{args.teacher} teaches and is where the student starts: {without_flags(config.training)}")
    encoder, prompt = Encoder(networks.vae, config, device), networks.empty_prompt.to(device)
    student = networks.unet.to(device).train()
    frozen = deepcopy(student).to(frozen_dtype(args)).eval().requires_grad_(False)
    distillation = Distillation(Denoiser(frozen, config.prediction, prompt), encoder, distance)
    follower = deepcopy(student) if args.separate_fake else None
    discriminator = Discriminator(middle_channels(frozen)).to(device)
    checkpoint_gradients(args.gradient_checkpointing, student, frozen, networks.vae)

    # data
    recipe = recipe_of(args)
    check_views(recipe.shapes(config.resolution), config.unet)
    make, encode = composites_of(recipe, config, "d1"), encoded_by(encoder, accelerator, "image", "mask")
    samples = samples_of(make, encode, encoder, args, accelerator)
    held_out = held_out_of(composites_of(recipe.as_judged(), config, "d1"), args, 32)

    def show(step: int) -> dict[str, float]:
        engine = DiffusersEngine(config, run.kept(), encoder.vae, prompt)
        with accelerator.autocast():
            rows, numbers = look(engine, held_out, in_parts(encode, held_out))
        save_sheet([row[:8] for row in rows], out / "sheets" / f"{step:06d}.jpg")
        return numbers

    # optimisation
    learners = [part for part in (student, discriminator, follower) if part is not None]
    # one optimizer for all of them: between the steps of several, accelerate forgets which gradients it has unscaled
    optimizer = adamw_of([{"params": part.parameters()} for part in learners], args)
    rates = rates_of(optimizer, args, args.lr_schedule)
    learners = run.open(learners, [optimizer], [rates], HeldOut(show, by="hole_psnr_2_step"))

    for number, batch in run.batches(samples, encode):
        now = reweighed(phase(run.step_number, args.steps_per_phase), args.lambda_1, args.lambda_2, args.lambda_3)
        start, draw = draw_start(now, sample_generator(args.seed, number, 0)), Draw(args.seed, batch["number"])
        with accelerator.accumulate(*learners):
            # 1. what the student is told of its answer; all of a batch start at one time
            with accelerator.autocast():
                own = Denoiser(learners[0], config.prediction, prompt)
                answer = distillation.answer(own, batch, draw, start, truth=args.truth > 0)
                fake = Denoiser(accelerator.unwrap_model(learners[-1 if follower else 0]), config.prediction, prompt)
                judge = accelerator.unwrap_model(learners[1]).requires_grad_(False)
                terms = distillation.terms(answer, fake, judge, batch, draw, now, truth=args.truth)
            accelerator.backward(sum(terms.values()))

            # 2. what the discriminator is told of it, and the fake score if it is one of its own
            made = answer.latent.detach()
            judge.requires_grad_(True)
            with accelerator.autocast():
                others = {"discriminator": distillation.discriminator_loss(learners[1], made, batch, draw)}
                if follower:
                    follows = Denoiser(learners[2], config.prediction, prompt)
                    others["fake"] = following_loss(follows, made, batch, draw).mean()
            for loss in others.values():
                accelerator.backward(loss)
            run.step(terms | others | {"start": torch.tensor(float(start))})

        # 3. what is kept of it, and what a person sees
        run.save_when_due()

    def write(facts: dict[str, object]) -> None:
        save_networks(out / "model.safetensors", networks, run.kept(), config, facts, DTYPES[args.dtype])
        save_file(accelerator.unwrap_model(learners[1]).state_dict(), out / OURS)

    run.finish(write, stage="yoeo_stage2", perceptual=args.perceptual, before=config.training)


if __name__ == "__main__":
    run_script(parse_args, main)
