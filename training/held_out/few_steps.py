"""How a network does on pictures it has never seen, in the two steps that YOEO takes."""

from collections.abc import Callable

import torch
from torch import Tensor

from eradiff_core.inpainting.latents import masked_picture, unet_input
from eradiff_core.inpainting.schedule import Schedule, add_noise, denoised_from
from eradiff_core.inpainting.shapes import Float
from training.data.encoding import Encoder
from yoeo_core.consistency import timesteps

Predict = Callable[[Tensor, Tensor], Tensor]  # (nine channels, timesteps [b]) -> the network's output


def fill_in_few_steps(
    predict: Predict,
    schedule: Schedule,
    prediction: str,
    encoded: dict[str, Tensor],
    visited: tuple[int, ...],
    generator: torch.Generator,
) -> Float[Tensor, "b 4 h w"]:
    """Latent consistency steps from pure noise: predict the clean latent, noise it again, less each time."""
    shape, like = encoded["latent"].shape, encoded["latent"]
    clean = torch.zeros_like(like)
    for t in visited:
        noise = torch.randn(shape, generator=generator).to(like)
        signal = schedule.signal[t].repeat(shape[0]).to(like)
        noisy = noise if t == visited[0] else add_noise(clean, noise, signal)
        step = torch.full((shape[0],), t, device=like.device)
        output = predict(unet_input(noisy, encoded["mask"], encoded["masked"]), step).float()
        clean = denoised_from(prediction, output, noisy, signal)
    return clean


def hole_psnr(fill: Tensor, image: Tensor, mask: Tensor) -> Float[Tensor, "b"]:
    """Peak signal-to-noise ratio in the hole alone, in dB, for RGB in [0, 1]."""
    squared = ((fill - image).square() * mask).flatten(1).sum(1) / (3 * mask.flatten(1).sum(1))
    return -10 * squared.clamp_min(1e-10).log10()


def colour_offset(fill: Tensor, image: Tensor, mask: Tensor) -> Float[Tensor, "b"]:
    """How far the fill's mean colour is from the truth's, in 8-bit levels; a patch shows from about 10."""
    area = mask.flatten(1).sum(1)
    mean = ((fill - image) * mask).sum((2, 3)) / area[:, None]
    return mean.abs().mean(1) * 255


@torch.no_grad()
def look(
    predict: Predict, encoder: Encoder, schedule: Schedule, prediction: str, image: Tensor, mask: Tensor
) -> tuple[list[Tensor], dict[str, float]]:
    """A sheet's rows (hole, one step, two steps, truth) and the held-out numbers."""
    image, mask = image.to(encoder.device), mask.to(encoder.device)
    encoded = encoder(image, mask)
    rows, numbers = [masked_picture(image, mask)], {}
    for visited in (timesteps(1), timesteps(2)):
        generator = torch.Generator().manual_seed(0)
        latent = fill_in_few_steps(predict, schedule, prediction, encoded, visited, generator)
        fill = encoder.decode(latent)
        rows.append(image * (1 - mask) + fill * mask)
        name = f"{len(visited)}_step"
        numbers[f"hole_psnr_{name}"] = hole_psnr(fill, image, mask).mean().item()
        numbers[f"colour_offset_{name}"] = colour_offset(fill, image, mask).mean().item()
    ceiling = hole_psnr(encoder.decode(encoded["latent"]), image, mask)
    numbers["hole_psnr_autoencoder"] = ceiling.mean().item()
    return [*rows, image], numbers
