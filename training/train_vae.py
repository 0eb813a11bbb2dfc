"""Train the small autoencoder of the built-in nano model on a folder of pictures.

    python -m training.train_vae --images photos --validation photos_held_out --out runs/vae
    accelerate launch -m training.train_vae --images photos --out runs/vae --mixed-precision bf16
    python -m training.train_vae --images photos --out runs/smoke --steps 20   # a smoke run

A killed run continues when it is started again with the same ``--out``.
"""

import argparse

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import nn

from training.data.flag_values import above_zero, not_negative, positive
from training.data.pictures import to_tensor
from training.data.randomness import normal_like, sample_generator
from training.data.reading import read_bounded
from training.data.recipe import add_images_flags
from training.data.stream import Stream, source_of
from training.data.views import PictureViews
from training.networks.passthrough import pass_through_
from training.running.best import HeldOut
from training.running.endings import run_script
from training.running.flags import add_batch_flags, add_folder_flags
from training.running.optimisation import ADAM
from training.running.run import Run
from training.running.sheets import save_sheet

FACTOR = 8  # pixels of a side to one of the latent


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # data
    add_images_flags(parser, "nothing beside them is read")
    parser.add_argument("--size", type=positive, default=96, help="side of a training crop in pixels")
    # optimisation
    add_batch_flags(parser, steps=3000, batch_size=8, accumulation=1)
    parser.add_argument("--clip", type=above_zero, default=1.0, help="largest gradient norm; inf: off")
    parser.add_argument("--lr", type=not_negative, default=1e-3, help="peak learning rate; falls to 0 along a cosine")
    parser.add_argument(
        "--latent-noise", type=not_negative, default=0.05, help="noise on the latent, so that nearby codes decode alike"
    )
    add_folder_flags(parser, "vae/")
    args = parser.parse_args(argv)
    if args.size % FACTOR:
        parser.error(f"--size must be a multiple of {FACTOR}, got {args.size}.")
    return args


class NoisyRoundTrip(nn.Module):
    """Encode, disturb the latent by ``noise`` of its shape, decode: ``[b, 3, h, w]`` in [-1, 1] to the same."""

    def __init__(self, vae: AutoencoderTiny, latent_noise: float):
        super().__init__()
        self.vae, self.latent_noise = vae, latent_noise

    def forward(self, image: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return self.vae.decode(self.vae.encode(image).latents + self.latent_noise * noise).sample


def reconstruction_loss(decoded: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Absolute difference of the pixels and of their horizontal and vertical steps, one number a sample."""
    error = decoded - image
    edges = error.diff(dim=-1).abs().flatten(1).mean(1) + error.diff(dim=-2).abs().flatten(1).mean(1)
    return error.abs().flatten(1).mean(1) + 0.5 * edges


@torch.no_grad()
def held_out(vae: AutoencoderTiny, folder: str, size: int = 256) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Up to 32 held-out pictures, their reconstructions and the mean PSNR in dB."""
    device = next(vae.parameters()).device
    source = source_of(folder)
    stream = Stream(source, np.arange(len(source)), [(size, size)], 1, seed=0)
    pictures = [stream.read(place, lambda files: read_bounded(files.picture)) for place in range(min(32, len(source)))]
    image = torch.stack([to_tensor(picture.resize((size, size))) for picture in pictures]).to(device)
    latents = [vae.encode(one * 2 - 1).latents for one in image.split(1)]
    decoded = torch.cat([vae.decode(one).sample for one in latents]).float().clamp(-1, 1) / 2 + 0.5
    mse = (decoded - image).square().flatten(1).mean(1)
    return image, decoded, float((-10 * mse.log10()).mean())


@torch.no_grad()
def latent_scale(vae: AutoencoderTiny, images: str, size: int, count: int = 64) -> float:
    """One over the latents' standard deviation: what brings them to unit variance, as 0.18215 does for SD's."""
    views = PictureViews(images, max(size, 128), count, seed=1)
    device = next(vae.parameters()).device
    latents = [vae.encode(views[i][None].to(device) * 2 - 1).latents for i in range(count)]
    return float(1 / torch.cat(latents).std())


def main(args: argparse.Namespace) -> None:
    run = Run(args, "train_vae", needs=("images", "validation"))
    accelerator, out = run.accelerator, run.out
    vae = pass_through_(AutoencoderTiny())
    round_trip = NoisyRoundTrip(vae, args.latent_noise).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=args.lr, betas=(0.9, 0.99), weight_decay=1e-4, **ADAM)
    warmup = min(100, args.steps)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.05, total_iters=warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, args.steps - warmup)),
        ],
        milestones=[warmup],
    )
    views = PictureViews(args.images, args.size, args.steps * run.whole_batch, args.seed)

    def show(step: int) -> dict[str, float]:
        image, decoded, psnr = held_out(vae, args.validation)
        save_sheet([image[:8], decoded[:8]], out / "sheets" / f"{step:06d}.jpg")
        return {"psnr_held_out": psnr}

    (round_trip,) = run.open([round_trip], [optimizer], [schedule], HeldOut(show, by="psnr_held_out"))
    for number, image in run.batches(views):
        first = (number * accelerator.num_processes + accelerator.process_index) * args.batch_size  # sample's number
        draws = [sample_generator(args.seed, first + place) for place in range(len(image))]
        noise = normal_like(image.new_empty(len(image), 4, args.size // FACTOR, args.size // FACTOR), draws)
        image = image * 2 - 1
        with accelerator.accumulate(round_trip):
            decoded = round_trip(image, noise).float()
            loss = reconstruction_loss(decoded, image).mean()
            accelerator.backward(loss)
            run.step({"loss": loss})
        run.save_when_due()

    def write(_: dict[str, object]) -> None:
        vae.register_to_config(scaling_factor=latent_scale(vae, args.images, args.size))
        vae.save_pretrained(out / "vae")

    run.finish(write)


if __name__ == "__main__":
    run_script(parse_args, main)
