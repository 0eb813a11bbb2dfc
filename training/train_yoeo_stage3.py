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
from functools import partial

import torch
from safetensors.torch import save_file

from inpainting_core.checkpoint import DTYPES
from inpainting_core.engine import DiffusersEngine
from training.data.composites import Composites
from training.data.encoding import Encoded, Encoder, add_pool_flags, samples_of
from training.data.randomness import sample_generator
from training.data.recipe import add_recipe_flags, recipe_of
from training.data.shown import as_shown
from training.held_out.few_steps import look
from training.held_out.parts import in_parts
from training.held_out.sundries import look_for_sundries
from training.networks.bases import load_networks, save_networks
from training.networks.discriminators import OURS, THEIRS, discriminator_beside, read_discriminator
from training.networks.perceptual import DISTANCES, perceptual_net
from training.running.distilling import (
    Denoiser,
    Distillation,
    Draw,
    add_distilling_flags,
    hole_error,
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
    ADAM_EPS,
    add_run_flags,
    all_of,
    averaged,
    frozen_dtype,
    rates_of,
)
from training.running.record import without_flags
from training.running.run import Run
from training.running.sheets import save_sheet
from yoeo_core.detector import load_detector
from yoeo_core.distillation import PHASES, draw_start, reweighed

PARTS = ("d2", "ss", "efc")


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
    parser.add_argument("--images", required=True, help="pictures; NAME_entities.png beside NAME is its id map")
    parser.add_argument("--validation", help="pictures never trained on; sheets and numbers come from them")
    parser.add_argument("--resolution", type=int, help="side of a training picture in px; left out: as the teacher")
    add_recipe_flags(parser)
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


def main(args: argparse.Namespace) -> None:
    needs = ("teacher", "student", "base", "discriminator", "detector", "images", "validation")
    run = Run(args, "train_yoeo_stage3", needs)
    accelerator, out, device = run.accelerator, run.out, run.accelerator.device

    # networks: the teacher of stage 1 and the detector are frozen, the student and discriminator of stage 2 go on
    networks, inherited = (load_networks(source, base=args.base) for source in (args.student, args.teacher))
    config = replace(networks.config, resolution=args.resolution or networks.config.resolution)
    if inherited.config.unet != config.unet:
        raise ValueError(f"teacher and student must be of one shape, got {inherited.config.unet} and {config.unet}.")
    if inherited.config.under_hole != config.under_hole:
        got = f"{inherited.config.under_hole} and {config.under_hole}"
        raise ValueError(f"teacher and student must see the same under their hole, got {got}.")
    accelerator.print(f"{args.teacher} teaches: {without_flags(inherited.config.training)}")
    accelerator.print(f"{args.student} goes on: {without_flags(config.training)}")
    accelerator.print(f"{args.detector} judges")
    encoder = Encoder(networks.vae, config, device)
    prompt = networks.empty_prompt.to(device)
    student = networks.unet.to(device).train()
    frozen = inherited.unet.to(device, frozen_dtype(args)).eval().requires_grad_(False)
    distance = perceptual_net(args.perceptual).to(device)
    distillation = Distillation(Denoiser(frozen, inherited.config.prediction, prompt), encoder, distance)
    told_by = args.discriminator or discriminator_beside(args.student)
    discriminator = read_discriminator(told_by, middle_channels(frozen)).to(device)
    detector = load_detector(args.detector, device)
    if args.gradient_checkpointing:
        for part in (student, frozen, networks.vae):
            part.enable_gradient_checkpointing()
    average = averaged(student, args.ema)

    def encode(batch: dict[str, torch.Tensor]) -> Encoded:
        with accelerator.autocast():
            return encoder(batch["image"], batch["mask"], batch.get("shown")) | {"hole": batch["mask"].to(device)}

    # data: the optimizer's whole batch is of one kind
    recipe = recipe_of(args)

    def set_of(holes: str) -> torch.utils.data.Dataset:
        def make(count: int, block: int, seed: int) -> Composites:
            return as_shown(lambda size: Composites(args.images, size, count, seed, holes, recipe, block), config)

        return samples_of(make, encode, encoder, args, accelerator, holes)

    whole = args.batch_size * accelerator.num_processes * args.gradient_accumulation
    share = 0.0 if "d2" in args.without else 0.5
    samples = HalfUnpaired(set_of("d1"), set_of("d2"), whole, args.seed, share)
    if args.validation:
        paired, unpaired = (
            all_of(as_shown(partial(Composites, args.validation, recipe=recipe, seed=1, **kind), config))
            for kind in ({"length": 32, "holes": "d1"}, {"length": 64, "holes": "d2"})
        )

    # optimisation
    optimizers = [torch.optim.AdamW(part.parameters(), lr=args.lr, eps=ADAM_EPS) for part in (student, discriminator)]
    rates = [rates_of(optimizer, args) for optimizer in optimizers]
    student, discriminator, *optimizers = accelerator.prepare(student, discriminator, *optimizers)
    run.open([student, discriminator], optimizers, rates, average)
    raw, judge = accelerator.unwrap_model(student), accelerator.unwrap_model(discriminator)

    def show(step: int) -> dict[str, float]:
        engine = DiffusersEngine(config, run.kept(), encoder.vae, prompt)
        with accelerator.autocast():
            rows, numbers = look(engine, paired, in_parts(encode, paired))
            seen, found = look_for_sundries(engine, detector, unpaired, in_parts(encode, unpaired))
        save_sheet([row[:8] for row in (*rows, *seen)], out / "sheets" / f"{step:06d}.jpg")
        return numbers | found

    mean_over_processes = partial(accelerator.reduce, reduction="mean")
    by, now = judgement_of(args), reweighed(PHASES[-1], args.lambda_1, args.lambda_2, args.lambda_3)
    for number, batch in run.batches(samples, workers=0 if args.cache_latents else args.workers):
        alone = bool(batch["unpaired"].any())  # without a truth: D2
        encoded, draw = batch if args.cache_latents else encode(batch), Draw(args.seed, batch["number"])
        start = 0 if alone else draw_start(now, sample_generator(args.seed, number, 0))
        with accelerator.accumulate(student, discriminator):
            with accelerator.autocast():
                # 1. what stage 2 tells the student, without what the teacher invented
                own = Denoiser(student, config.prediction, prompt)
                told_truth = args.truth > 0 and not alone
                answer = distillation.answer(own, encoded, draw, start, told_truth)
                with torch.no_grad():
                    seen = detector(answer.target)
                keep = 1 - teachers_own(seen, encoded["hole"], by) if alone else None
                fake = Denoiser(raw, config.prediction, prompt)
                judge.requires_grad_(False)
                terms = distillation.terms(answer, fake, judge, encoded, draw, now, keep)
                if told_truth:
                    terms["truth"] = args.truth * hole_error(answer, encoded).mean()

                # 2. what the detector tells it, at most half as loud as LPIPS
                told = judged_terms(detector, answer, encoded["hole"], seen, alone, by)
                told = {name: term for name, term in told.items() if name.split("_")[0] not in args.without}
            pull, caps = pull_of(terms, told, answer.latent, raw.conv_out.weight, mean_over_processes, by.shares)
            accelerator.backward(pull)

            # 3. what the discriminator is told: on D2 nothing, there is an object in what it would take for real
            judge.requires_grad_(True)
            if not alone:
                with accelerator.autocast():
                    made = answer.latent.detach()
                    terms["discriminator"] = distillation.discriminator_loss(discriminator, made, encoded, draw)
                accelerator.backward(terms["discriminator"])
            kind = {"start": torch.tensor(float(start)), "unpaired": torch.tensor(float(alone))}
            run.step(terms | told | norms_of(caps, by) | kind)

        # 4. what is kept of it, and what a person sees
        run.save_when_due(show)

    facts = {"stage": "yoeo_stage3", "without": args.without, "before": config.training}
    facts = run.facts(show, **facts)
    if accelerator.is_main_process:
        config = replace(config, training=facts)
        save_networks(out / "model.safetensors", networks, run.kept().state_dict(), config, DTYPES[args.dtype])
        save_file(judge.state_dict(), out / OURS)
    run.finish(facts)


if __name__ == "__main__":
    run_script(parse_args, main)
