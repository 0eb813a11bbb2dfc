"""EraDiff: teach an inpainting UNet the path on which an object fades (Chain-Rectifying Optimization).

    python -m training.prepare_mattes --images photos --model MATTING_MODEL
    python -m training.train_eradiff --base sd2_inpaint --images photos --out runs/eradiff \\
        --mixed-precision bf16 --gradient-checkpointing --cache-latents 100000                 # one GPU
    accelerate launch -m training.train_eradiff --base sd2_inpaint --images photos --out runs/eradiff ...   # several
    python -m training.train_eradiff --base sd15_inpaint.safetensors --lora-rank 32 ...        # a small card
    python -m training.train_eradiff --base assets/nano_base.safetensors --objects drawn --images photos \\
        --out runs/smoke --steps 3 --batch-size 2 --cache-latents 8                            # smoke run on a CPU

What the paper states is the default: Adam, 3e-6, jumps of up to 100 timesteps, lambda_t = 1 - abar_t.
A killed run continues, to the bit, when it is started again with the same ``--out``.
"""

import argparse
from dataclasses import replace

import torch

from eradiff_core.attention import MODES, Softness, rectifier
from eradiff_core.cro import GAMMA_MAX, MIXINGS, cro_loss, draw_jump, pixel_cro_loss
from inpainting_core.checkpoint import DTYPES
from inpainting_core.engine import DiffusersEngine, call_unet
from inpainting_core.latents import unet_input
from inpainting_core.schedule import Schedule, noise_from
from inpainting_core.self_attention import self_attention
from training.data.encoding import Encoder, encoded_by
from training.data.flag_values import above_zero, natural, not_negative, positive, share
from training.data.pairs import SCENES, Pairs
from training.data.randomness import normal_like, sample_generator
from training.data.recipe import Recipe, add_effects_flag, add_images_flags, add_picture_flags, recipe_of
from training.data.sets import Make, add_pool_flags, held_out_of, samples_of
from training.data.shown import as_shown
from training.data.synthesis_flags import add_synthesis_flags, ranges_of
from training.held_out.pairs import LOOKS, look_along_path, psnr_name
from training.held_out.parts import in_parts
from training.networks.bases import load_networks, save_networks
from training.networks.lora import add_lora, lora_weights, write_lora
from training.running.best import HeldOut
from training.running.checkpointing import checkpoint_gradients
from training.running.endings import run_script
from training.running.optimisation import (
    adamw_of,
    add_run_flags,
    frozen_dtype,
    hole_importance,
    rates_of,
)
from training.running.run import Run
from training.running.sheets import save_sheet


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # where it starts
    parser.add_argument("--base", required=True, help="an inpainting checkpoint: file or diffusers folder")
    parser.add_argument("--lora-rank", type=natural, default=0, help="train a LoRA of this rank; 0: all weights")
    parser.add_argument("--lora-alpha", type=above_zero, help="it counts alpha / rank times; left out: once")
    # data
    add_images_flags(parser, "NAME_matte.png beside NAME is its object's alpha")
    parser.add_argument(
        "--objects", choices=sorted(SCENES), default="mattes", help="mattes: the picture's own; drawn: blobs"
    )
    add_synthesis_flags(parser)
    add_effects_flag(parser)
    parser.add_argument("--poor-masks", type=share, default=0.0, help="share of the masks made poor (%(default)s)")
    parser.add_argument("--resolution", type=positive, help="side of a training picture in px; left out: as the base")
    add_picture_flags(parser)
    add_pool_flags(parser)
    parser.add_argument(
        "--look", choices=MODES, nargs="+", default=LOOKS, help="held-out pictures are erased with each of these SRAs"
    )
    # the chain
    parser.add_argument("--gamma-max", type=positive, default=GAMMA_MAX, help="longest jump in timesteps")
    parser.add_argument(
        "--sampler-steps", type=positive, help="draw jumps tightly around this sampler's stride instead"
    )
    parser.add_argument(
        "--mixing", choices=sorted(MIXINGS), default="schedule", help="constant: the ablation; none: plain inpainting"
    )
    parser.add_argument("--mix-pixels", action="store_true", help="mix pictures, not latents: two encodings a step")
    parser.add_argument("--rectified", type=share, default=0.0, help="share of passes with SRA on; 0: the paper's")
    parser.add_argument("--softness", type=share, default=0.0, help="of that SRA; 0: the paper's, 1: plain attention")
    parser.add_argument("--softness-rising", action="store_true", help="--softness at full noise, 1 without noise")
    parser.add_argument(
        "--hole-weight", type=not_negative, default=0.0, help="extra loss weight of the hole; 0: plain mean"
    )
    add_run_flags(parser, steps=10_000, batch_size=8, lr=3e-6, accumulation=1, dtype="fp32")
    args = parser.parse_args(argv)
    if args.mix_pixels and args.cache_latents:
        parser.error("--mix-pixels encodes a new mix at every step, so it cannot go with --cache-latents.")
    return args


def main(args: argparse.Namespace) -> None:
    run = Run(args, "train_eradiff", needs=("base", "images", "validation"))
    accelerator, out, device = run.accelerator, run.out, run.accelerator.device

    # model: what a flag leaves open comes from the base
    networks = load_networks(args.base)
    config = replace(networks.config, resolution=args.resolution or networks.config.resolution)
    accelerator.print(f"{args.base}: predicts {config.prediction}, {config.resolution} px")
    schedule, softness = Schedule(), Softness(args.softness, args.softness_rising)
    encoder, prompt = Encoder(networks.vae, config, device), networks.empty_prompt.to(device)
    unet = networks.unet.to(device).train()
    if args.lora_rank:
        unet.to(frozen_dtype(args))
        add_lora(unet, args.lora_rank, args.lora_alpha)
    checkpoint_gradients(args.gradient_checkpointing, unet)

    # data
    ranges, recipe, scenes = ranges_of(args), recipe_of(args), SCENES[args.objects]

    def pairs_of(recipe: Recipe) -> Make:
        def make(folder: str, count: int, seed: int, _: int | None) -> Pairs:
            return as_shown(lambda size: Pairs(scenes(folder, size, seed, recipe), count, seed, ranges), config)

        return make

    encode = encoded_by(encoder.pair, accelerator, "original", "with_object", "mask")
    samples = samples_of(pairs_of(recipe), encode, encoder, args, accelerator)
    held_out = held_out_of(pairs_of(recipe.as_judged()), args, 16)

    def show(step: int) -> dict[str, float]:
        engine = DiffusersEngine(config, run.kept(), encoder.vae, prompt)
        with accelerator.autocast():
            rows, numbers = look_along_path(engine, held_out, in_parts(encode, held_out), args.look)
        save_sheet(rows, out / "sheets" / f"{step:06d}.jpg")
        return numbers

    # optimisation
    parameters = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = adamw_of(parameters, args, weight_decay=0.0)  # Adam
    rates = rates_of(optimizer, args, args.lr_schedule)
    (unet,) = run.open([unet], [optimizer], [rates], HeldOut(show, by=psnr_name(args.look[0])))

    for number, batch in run.batches(samples, encode):
        # 1. each sample's own noise and jump, drawn by its number
        draws = [sample_generator(args.seed, sample) for sample in batch["number"].tolist()]
        latent, masked, mask = batch["latent"], batch["masked"], batch["mask"]
        noise, size = normal_like(latent, draws), latent[0].numel()
        jumps = [draw_jump(generator, schedule.steps, args.gamma_max, args.sampler_steps) for generator in draws]
        t, gamma = torch.tensor(jumps, device=device).unbind(1)
        chain = {"noise": noise, "t": t, "gamma": gamma, "schedule": schedule, "mixing": args.mixing}
        chain["importance"] = hole_importance(mask, args.hole_weight)

        def predict_noise(noisy: torch.Tensor, t: torch.Tensor, mask=mask, masked=masked) -> torch.Tensor:
            output = call_unet(unet, unet_input(noisy, mask, masked), t, prompt)
            return noise_from(config.prediction, output.float(), noisy, schedule.signal[t.cpu()])

        # 2. the loss and the step, some of them under the attention that EraDiff samples with.  Eq. 9 is a sum over
        # the latent; what is logged, and what --clip is measured in, is the mean, alike at every resolution
        sra = float(torch.rand((), generator=sample_generator(args.seed, number, 0))) < args.rectified
        rectified, sigma = rectifier(mask, "rectified" if sra else "off", softness), schedule.sigmas.to(device)[t]
        attention = self_attention(accelerator.unwrap_model(unet), rectified, latent.shape[-2:], sigma)
        with accelerator.accumulate(unet), attention:
            if args.mix_pixels:
                pictures = batch["original"], batch["with_object"]
                loss = pixel_cro_loss(predict_noise, encoder.encode, *pictures, **chain).mean()
            else:
                loss = cro_loss(predict_noise, latent, batch["object"], **chain).mean()
            accelerator.backward(size * loss)
            run.step({"loss": loss}, size)

        # 3. what is kept of it, and what a person sees
        run.save_when_due()

    def write(facts: dict[str, object]) -> None:
        if args.lora_rank:
            trained = replace(config, training=facts)
            write_lora(out / "lora.safetensors", lora_weights(run.kept()), trained, DTYPES[args.dtype])
        else:
            save_networks(out / "model.safetensors", networks, run.kept(), config, facts, DTYPES[args.dtype])

    run.finish(write, method="eradiff", mixing=args.mixing, before=config.training)


if __name__ == "__main__":
    run_script(parse_args, main)
