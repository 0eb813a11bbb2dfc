"""From pictures and holes to what the UNet trains on: latent, masked picture's latent and mask on the latent grid."""

import argparse
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor
from torch.nn.functional import max_pool2d
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from inpainting_core.architecture import ModelConfig
from inpainting_core.latents import masked_picture, scale_latent, unscale_latent
from inpainting_core.shapes import Float

# "latent", "masked" and a pair's "object" [b, 4, h/8, w/8], "mask" [b, 1, h/8, w/8], stage 3's "hole" [b, 1, h, w]
Encoded = dict[str, Tensor]


class Encoder:
    """A model's frozen autoencoder behind two calls, in unit-variance latents; pictures are RGB in [0, 1]."""

    def __init__(self, vae: AutoencoderKL | AutoencoderTiny, config: ModelConfig, device: torch.device):
        self.vae = vae.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        self.scale, self.under_hole, self.device = config.vae.scale, config.under_hole, device

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 4 h8 w8"]:
        """The mean latent: a sample drawn from the KL encoder's narrow posterior would add noise we do not need."""
        encoded = self.vae.encode(image.to(self.device) * 2 - 1)
        raw = encoded.latents if isinstance(self.vae, AutoencoderTiny) else encoded.latent_dist.mode()
        return scale_latent(raw.float(), self.scale)

    def decode(self, latent: Float[Tensor, "b 4 h8 w8"]) -> Float[Tensor, "b 3 h w"]:
        return self.vae.decode(unscale_latent(latent, self.scale)).sample.float().clamp(-1, 1) / 2 + 0.5

    @torch.no_grad()
    def __call__(self, image: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"]) -> Encoded:
        image, mask = image.to(self.device), mask.to(self.device)
        both = self.encode(torch.cat([image, masked_picture(image, mask, self.under_hole)]))
        latent, masked = both.chunk(2)
        return {"latent": latent, "masked": masked, "mask": max_pool2d(mask, image.shape[-1] // latent.shape[-1])}

    @torch.no_grad()
    def pair(
        self,
        original: Float[Tensor, "b 3 h w"],
        with_object: Float[Tensor, "b 3 h w"],
        mask: Float[Tensor, "b 1 h w"],
    ) -> Encoded:
        """A picture with and without an object.

        Outside the hole the object's latent is the original's: an autoencoder's norms and attention reach everywhere.
        """
        encoded = self(original, mask)
        latent = self.encode(with_object)
        return encoded | {"object": torch.where(encoded["mask"] > 0, latent, encoded["latent"])}


def encode_pool(
    samples: Dataset, encode: Callable[[dict[str, Tensor]], Encoded], path: Path, batch_size: int, workers: int
) -> Encoded:
    """Encode every sample once and keep the result at ``path``; a resumed run reads it back."""
    if not path.exists():
        loader = DataLoader(samples, batch_size, num_workers=workers)
        batches = [encode(batch) for batch in tqdm(loader, desc="encoding")]
        pool = {key: torch.cat([batch[key].half().cpu() for batch in batches]) for key in batches[0]}
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(pool, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)
    return torch.load(path, weights_only=True)


class PoolDraws(Dataset):
    """Endless passes over an encoded pool, each in an order of its own; item ``i`` is a pure function of (seed, i)."""

    def __init__(self, pool: Encoded, length: int, seed: int):
        self.pool, self.length, self.seed = pool, length, seed
        self.order = lru_cache(maxsize=2)(self._order)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Encoded:
        if index >= self.length:
            raise IndexError(index)  # ends a plain loop over the samples
        epoch, place = divmod(index, len(self.pool["latent"]))
        chosen = self.order(epoch)[place]
        return {key: values[chosen].float() for key, values in self.pool.items()} | {"number": torch.tensor(index)}

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        return torch.randperm(len(self.pool["latent"]), generator=generator)


def add_pool_flags(parser: argparse.ArgumentParser) -> None:
    """Whether a run's samples are encoded once, and where they are kept."""
    parser.add_argument("--cache-latents", type=int, default=0, help="samples of a set, encoded once; 0: off")
    parser.add_argument("--pool", help="folder that keeps them, for several runs on the same ones; left out: --out")


def samples_of(
    make: Callable[[int, int | None], Dataset],
    encode: Callable[[dict[str, Tensor]], Encoded],
    args: argparse.Namespace,
    accelerator: Accelerator,
    pool: str = "latents.pt",
) -> Dataset:
    """All samples of a run, ``make(their number, the global batch)``; with ``--cache-latents`` draws from so many.

    They are kept in the file ``pool`` in ``--pool``, or in the run folder.
    """
    batch = args.batch_size * accelerator.num_processes
    length = args.steps * args.gradient_accumulation * batch
    if not args.cache_latents:
        return make(length, batch)
    with accelerator.main_process_first():
        path = Path(args.pool or args.out) / pool
        encoded = encode_pool(make(args.cache_latents, None), encode, path, args.batch_size, args.workers)
    return PoolDraws(encoded, length, args.seed)
