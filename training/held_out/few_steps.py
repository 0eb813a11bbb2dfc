"""How a network does on pictures it has never seen, in the two steps that YOEO takes."""

import torch
from torch import Tensor

from inpainting_core.engine import DiffusersEngine
from inpainting_core.latents import masked_picture
from inpainting_core.shapes import Float
from training.data.encoding import Encoded
from training.held_out.parts import in_parts
from yoeo_core.consistency import path
from yoeo_core.pipeline import from_noise


def fill_in_few_steps(
    engine: DiffusersEngine, encoded: Encoded, steps: int, generator: torch.Generator
) -> Float[Tensor, "b 4 h w"]:
    """The latents that YOEO's steps reach from pure noise."""
    masked = encoded["masked"]
    return from_noise(engine, masked, encoded["mask"], path(steps), [generator] * len(masked))


def pictures_in_few_steps(engine: DiffusersEngine, encoded: Encoded, steps: int) -> Float[Tensor, "b 3 h w"]:
    """The whole decoded pictures, RGB in [0, 1]; always from the same noise."""
    generator = torch.Generator().manual_seed(0)

    def decoded(part: Encoded) -> dict[str, Tensor]:
        return {"image": engine.decode(fill_in_few_steps(engine, part, steps, generator))}

    return in_parts(decoded, encoded)["image"]


def hole_psnr(fill: Tensor, image: Tensor, mask: Tensor) -> Float[Tensor, "b"]:
    """Peak signal-to-noise ratio in the hole alone, in dB, for RGB in [0, 1]."""
    squared = ((fill - image).square() * mask).flatten(1).sum(1) / (3 * mask.flatten(1).sum(1))
    return -10 * squared.clamp_min(1e-10).log10()


def colour_offset(fill: Tensor, image: Tensor, mask: Tensor) -> Float[Tensor, "b"]:
    """How far the fill's mean colour is from the truth's, in 8-bit levels; a patch shows from about 10."""
    area = mask.flatten(1).sum(1)
    mean = ((fill - image) * mask).sum((2, 3)) / area[:, None]
    return mean.abs().mean(1) * 255


def look(
    engine: DiffusersEngine, pictures: dict[str, Tensor], encoded: Encoded
) -> tuple[list[Tensor], dict[str, float]]:
    """A sheet's rows (hole, one step, two steps, truth) and the held-out numbers."""
    image, mask = pictures["image"], pictures["mask"]
    rows, numbers = [masked_picture(image, mask)], {}
    for steps in (1, 2):
        fill = pictures_in_few_steps(engine, encoded, steps)
        rows.append(image * (1 - mask) + fill * mask)
        numbers[f"hole_psnr_{steps}_step"] = hole_psnr(fill, image, mask).mean().item()
        numbers[f"colour_offset_{steps}_step"] = colour_offset(fill, image, mask).mean().item()
    best = in_parts(lambda part: {"image": engine.decode(part["latent"])}, encoded)["image"]
    numbers["hole_psnr_autoencoder"] = hole_psnr(best, image, mask).mean().item()
    return [*rows, image], numbers
