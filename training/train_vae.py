"""Train the small autoencoder of the built-in nano model on a folder of pictures.

    python -m training.train_vae --images photos --validation photos_held_out --out runs/vae
    accelerate launch -m training.train_vae --images photos --out runs/vae --mixed-precision bf16
    python -m training.train_vae --images photos --out runs/smoke --steps 20   # a smoke run

A killed run continues when it is started again with the same ``--out``.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers import AutoencoderTiny
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from training.data.pictures import to_tensor
from training.data.reading import read_bounded
from training.data.stream import Stream, source_of
from training.data.views import PictureViews
from training.networks.passthrough import pass_through_
from training.running.optimisation import ADAM_EPS
from training.running.resume import remaining, resume, save_for_resume
from training.running.sheets import save_sheet


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # data
    parser.add_argument("--images", required=True, help="folder of pictures to train on")
    parser.add_argument(
        "--validation", help="folder of pictures that training never sees; sheets and PSNR come from it"
    )
    parser.add_argument("--size", type=int, default=96, help="side of a training crop in pixels")
    # optimisation
    parser.add_argument("--steps", type=int, default=3000, help="optimizer steps")
    parser.add_argument("--batch-size", type=int, default=8, help="crops a step and process")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate; falls to zero along a cosine")
    parser.add_argument(
        "--latent-noise", type=float, default=0.05, help="noise on the latent, so that nearby codes decode alike"
    )
    parser.add_argument("--mixed-precision", default="no", choices=["no", "fp16", "bf16"])
    parser.add_argument("--seed", type=int, default=0)
    # output
    parser.add_argument("--out", required=True, help="run folder: vae/, sheets, logs and the state to resume from")
    parser.add_argument("--save-every", type=int, default=500, help="steps between sheets and resumable states")
    return parser.parse_args(argv)


class NoisyRoundTrip(nn.Module):
    """Encode, disturb the latent a little, decode: ``[b, 3, h, w]`` in [-1, 1] to the same."""

    def __init__(self, vae: AutoencoderTiny, latent_noise: float):
        super().__init__()
        self.vae, self.latent_noise = vae, latent_noise

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        latent = self.vae.encode(image).latents
        return self.vae.decode(latent + self.latent_noise * torch.randn_like(latent)).sample


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
    accelerator = Accelerator(mixed_precision=args.mixed_precision, log_with="tensorboard", project_dir=args.out)
    set_seed(args.seed)
    vae = pass_through_(AutoencoderTiny())
    round_trip = NoisyRoundTrip(vae, args.latent_noise).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=args.lr, eps=ADAM_EPS, betas=(0.9, 0.99), weight_decay=1e-4)
    warmup = min(100, args.steps)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.05, total_iters=warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, args.steps - warmup)),
        ],
        milestones=[warmup],
    )
    views = PictureViews(args.images, args.size, args.steps * args.batch_size * accelerator.num_processes, args.seed)
    round_trip, optimizer = accelerator.prepare(round_trip, optimizer)
    accelerator.register_for_checkpointing(schedule)
    accelerator.init_trackers("train_vae")

    done = resume(accelerator, args.out)
    loader = accelerator.prepare(DataLoader(remaining(views, done, args.batch_size, accelerator), args.batch_size))
    progress = tqdm(total=args.steps, initial=done, disable=not accelerator.is_main_process)
    for step, image in enumerate(loader, start=done + 1):
        image = image * 2 - 1
        decoded = round_trip(image).float()
        loss = reconstruction_loss(decoded, image).mean()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(round_trip.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()

        progress.update()
        progress.set_postfix(loss=f"{loss.item():.4f}")
        accelerator.log({"loss": loss.item(), "lr": schedule.get_last_lr()[0]}, step=step)
        if step % args.save_every == 0 or step == args.steps:
            save_for_resume(accelerator, args.out, step)
            if accelerator.is_main_process and args.validation:
                image, decoded, psnr = held_out(vae, args.validation)
                save_sheet([image[:8], decoded[:8]], Path(args.out) / "sheets" / f"{step:06d}.jpg")
                accelerator.log({"psnr_held_out": psnr}, step=step)
                progress.write(f"step {step}: held-out PSNR {psnr:.2f} dB")

    if accelerator.is_main_process:
        vae.register_to_config(scaling_factor=latent_scale(vae, args.images, args.size))
        vae.save_pretrained(Path(args.out) / "vae")
    accelerator.end_training()


if __name__ == "__main__":
    main(parse_args())
