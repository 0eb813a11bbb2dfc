"""YOEO stage 3: the student of stage 2 learns from unpaired pictures too, judged by a sundry detector.

    python -m training.train_yoeo_stage3 --teacher stage1/model.safetensors --student stage2/model.safetensors \\
        --detector entityseg.pth --images photos --out stage3 --mixed-precision bf16 --gradient-checkpointing  # one GPU
    accelerate launch -m training.train_yoeo_stage3 --teacher ... --out stage3 ...                             # several
    python -m training.train_yoeo_stage3 --teacher assets/nano.safetensors --student smoke/model.safetensors \\
        --detector assets/nano_detector.safetensors --images photos --out smoke3 \\
        --steps 3 --batch-size 2 --unlabelled drawn --perceptual stlpips_alex                 # smoke run on a CPU

Half of the batches are D1, paired, as in stage 2; half are D2, whose holes hold whole entities of the picture.  What
the teacher invents there is masked out of LPIPS and DMD; what the student invents is suppressed (L_SS), and what runs
into a hole is made to go on there (L_EFC).  The discriminator learns from D1 only.
A killed run continues, to the bit, when it is started again with the same ``--out``.
"""

import argparse
from dataclasses import replace

import torch
from safetensors.torch import save_file

from inpainting_core.architecture import ModelConfig
from inpainting_core.checkpoint import DTYPES
from inpainting_core.engine import DiffusersEngine
from training.data.composites import composites_of
from training.data.encoding import Encoder, encoded_by
from training.data.flag_values import positive, share
from training.data.randomness import sample_generator
from training.data.recipe import ENTITIES_BESIDE, add_effects_flag, add_images_flags, add_recipe_flags, recipe_of
from training.data.sets import add_pool_flags, held_out_of, samples_of
from training.held_out.few_steps import look
from training.held_out.parts import in_parts
from training.held_out.sundries import look_for_sundries
from training.networks.bases import load_networks, save_networks
from training.networks.discriminators import OURS, THEIRS, check_views, discriminator_beside, read_discriminator
from training.networks.perceptual import DISTANCES, perceptual_net
from training.running.best import HeldOut
from training.running.checkpointing import able_to_repeat, checkpoint_gradients
from training.running.distilling import (
    Denoiser,
    Distillation,
    Draw,
    add_distilling_flags,
    middle_channels,
)
from training.running.endings import run_script
from training.running.judging import (
    HalfUnpaired,
    add_judging_flags,
    judged_terms,
    judgement_of,
    norms_of,
    pull_of,
    teachers_own,
)
from training.running.optimisation import (
    adamw_of,
    add_run_flags,
    frozen_dtype,
    rates_of,
)
from training.running.record import without_flags
from training.running.run import Run
from training.running.sheets import save_sheet
from yoeo_core.detector import load_detector
from yoeo_core.distillation import PHASES, draw_start, reweighed

PARTS = ("d2", "ss", "efc")
NEEDS = ("teacher", "student", "base", "discriminator", "detector", "images", "validation")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # where it starts
    parser.add_argument("--teacher", required=True, help="stage 1's file")
    parser.add_argument("--student", required=True, help="stage 2's file")
    parser.add_argument("--base", help="whole checkpoint that either is laid over which is a UNet alone")
    parser.add_argument("--discriminator", help=f"stage 2's; left out: {OURS} or {THEIRS} beside the student")
    parser.add_argument(
        "--detector", required=True, help="Mask2Former: a folder, our .safetensors, or EntitySeg's .pth"
    )
    # data
    add_images_flags(parser, ENTITIES_BESIDE)
    parser.add_argument(
        "--resolution", type=positive, help="side of a training picture in px; left out: as the teacher"
    )
    add_recipe_flags(parser)
    add_effects_flag(parser)
    parser.add_argument("--poor-masks", type=share, default=0.0, help="share of D2's masks made poor (%(default)s)")
    add_pool_flags(parser)
    # the losses
    parser.add_argument("--perceptual", choices=sorted(DISTANCES), default="lpips_vgg", help="(%(default)s)")
    add_distilling_flags(parser)
    add_judging_flags(parser)
    parser.add_argument("--without", choices=PARTS, nargs="+", default=[], help="parts left out, for ablations")
    # the authors': batch 7, 3,600 steps, AdamW 1e-5 constant for both
    add_run_flags(parser, steps=3_600, batch_size=7, lr=1e-5, accumulation=1, dtype="fp16")
    args = parser.parse_args(argv)
    if args.mixed_precision == "fp16":
        parser.error("gradient norms are compared before any loss is scaled: --mixed-precision must be no or bf16.")
    return args


def check_alike(teacher: ModelConfig, student: ModelConfig) -> None:
    """A teacher can show a student only what that sees too; raises ValueError where they differ."""
    if teacher.unet != student.unet:
        raise ValueError(f"teacher and student must be of one shape, got {teacher.unet} and {student.unet}.")
    if teacher.under_hole != student.under_hole:
        got = f"{teacher.under_hole} and {student.under_hole}"
        raise ValueError(f"teacher and student must see the same under their hole, got {got}.")


def main(args: argparse.Namespace) -> None:
    run = Run(args, "train_yoeo_stage3", NEEDS)
    accelerator, out, device = run.accelerator, run.out, run.accelerator.device
    distance = perceptual_net(args.perceptual).to(device)  # first: it may have to be fetched
    beside = args.discriminator or discriminator_beside(args.student)

    # networks: the teacher of stage 1 and the detector are frozen, the student and discriminator of stage 2 go on
    networks, inherited = (load_networks(source, base=args.base) for source in (args.student, args.teacher))
    config = replace(networks.config, resolution=args.resolution or networks.config.resolution)
    check_alike(inherited.config, config)
    accelerator.print(f"{args.teacher} teaches: {without_flags(inherited.config.training)}")
    accelerator.print(f"{args.student} goes on: {without_flags(config.training)}; {args.detector} judges")
    encoder, prompt = Encoder(networks.vae, config, device), networks.empty_prompt.to(device)
    student, detector = networks.unet.to(device).train(), load_detector(args.detector, device)
    frozen = inherited.unet.to(device, frozen_dtype(args)).eval().requires_grad_(False)
    distillation = Distillation(Denoiser(frozen, inherited.config.prediction, prompt), encoder, distance)
    discriminator = read_discriminator(beside, middle_channels(frozen)).to(device)
    checkpoint_gradients(args.gradient_checkpointing, student, frozen)
    checkpoint_gradients(able_to_repeat(args.gradient_checkpointing), networks.vae)  # two gradients go through it

    # data: the optimizer's whole batch is of one kind
    recipe = recipe_of(args)
    check_views(recipe.shapes(config.resolution), config.unet)
    d1, d2 = (composites_of(recipe, config, holes) for holes in ("d1", "d2"))
    encode = encoded_by(encoder.with_hole, accelerator, "image", "mask")
    sets = [samples_of(make, encode, encoder, args, accelerator, f"d{k + 1}", k) for k, make in enumerate((d1, d2))]
    samples = HalfUnpaired(*sets, run.whole_batch, args.seed, share=0.0 if "d2" in args.without else 0.5)
    plain = recipe.as_judged()
    paired = held_out_of(composites_of(plain, config, "d1"), args, 32)
    unpaired = held_out_of(composites_of(plain, config, "d2"), args, 64)

    def show(step: int) -> dict[str, float]:
        engine = DiffusersEngine(config, run.kept(), encoder.vae, prompt)
        with accelerator.autocast():
            rows, numbers = look(engine, paired, in_parts(encode, paired))
            seen, found = look_for_sundries(engine, detector, unpaired, in_parts(encode, unpaired))
        save_sheet([row[:8] for row in (*rows, *seen)], out / "sheets" / f"{step:06d}.jpg")
        return numbers | found

    # optimisation
    optimizers = [adamw_of(part.parameters(), args) for part in (student, discriminator)]
    rates = [rates_of(optimizer, args, args.lr_schedule) for optimizer in optimizers]
    student, discriminator = run.open([student, discriminator], optimizers, rates, HeldOut(show, "mars", lower=True))
    raw, judge = accelerator.unwrap_model(student), accelerator.unwrap_model(discriminator)
    own, fake = (Denoiser(unet, config.prediction, prompt) for unet in (student, raw))
    by, now = judgement_of(args), reweighed(PHASES[-1], args.lambda_1, args.lambda_2, args.lambda_3)

    for number, batch in run.batches(samples, encode):
        alone, draw = bool(batch["unpaired"].any()), Draw(args.seed, batch["number"])  # without a truth: D2
        start, truth = (0, 0.0) if alone else (draw_start(now, sample_generator(args.seed, number, 0)), args.truth)
        with accelerator.accumulate(student, discriminator):
            # 1. what stage 2 tells the student, without what the teacher invented
            judge.requires_grad_(False)
            with accelerator.autocast():
                answer = distillation.answer(own, batch, draw, start, truth=truth > 0)
                seen = detector(answer.target)
                keep = 1 - teachers_own(seen, batch["hole"], by) if alone else None
                terms = distillation.terms(answer, fake, judge, batch, draw, now, keep, truth)

                # 2. what the detector tells it, at most half as loud as LPIPS
                told = judged_terms(detector, answer, batch["hole"], seen, alone, by, args.without)
            pull, caps = pull_of(terms, told, answer.latent, raw.conv_out.weight, run.means.over_processes, by.shares)
            accelerator.backward(pull)
            made, said = answer.latent.detach(), {name: term.detach() for name, term in (terms | told).items()}
            # the norms kept the graphs; kept on, they would take the next pass's memory once more
            del answer, terms, told, pull

            # 3. what the discriminator is told: on D2 nothing, there is an object in what it would take for real
            judge.requires_grad_(True)
            if not alone:
                with accelerator.autocast():
                    said["discriminator"] = distillation.discriminator_loss(discriminator, made, batch, draw)
                accelerator.backward(said["discriminator"])
            kind = {"start": torch.tensor(float(start)), "unpaired": torch.tensor(float(alone))}
            run.step(said | norms_of(caps, by) | kind)

        # 4. what is kept of it, and what a person sees
        run.save_when_due()

    def write(facts: dict[str, object]) -> None:
        save_networks(out / "model.safetensors", networks, run.kept(), config, facts, DTYPES[args.dtype])
        save_file(judge.state_dict(), out / OURS)

    run.finish(write, stage="yoeo_stage3", without=args.without, before=config.training)


if __name__ == "__main__":
    run_script(parse_args, main)
