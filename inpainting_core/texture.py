"""Lend a fill the texture of the picture around it.

A small network's fill is the mean of all that might stand there: its colours are right, its texture is gone.  What
that texture is like, and how strong at each place, is seen around the hole.  Gaussian texture of the same covariance
(Galerne, Gousseau & Morel 2011, Random phase textures) is laid over the fill, as strong as what the fill lacks.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.grain import MEDIAN_OF_NORMAL, NEAR_PX, match_grain
from inpainting_core.masks import dilate
from inpainting_core.membrane import spread
from inpainting_core.shapes import Float

TEXTURES = ("own", "borrowed", "copied")  # where a model's fills have theirs from

# At the model's resolution.  Higher numbers look richer and cost PSNR, for borrowed texture is not the truth's: these
# leave the nano ahead of smooth inpainting in the mean of both on validation pictures (assets/nano.md).
DETAIL_PX = 2  # texture is what differs from its surroundings within so many pixels, shape is what remains
STRENGTH_PX = 6  # its strength at a place is a mean within so many
STRONGEST = 1.5  # standard deviations, as the median has them: an edge counts for no more than strong texture


def match_texture(
    filled: Float[Tensor, "n 3 h w"],
    view: Float[Tensor, "1 3 h w"],
    hole: Float[Tensor, "1 1 h w"],
    noise: Float[Tensor, "n 3 h w"],
    texture: str,
) -> Float[Tensor, "n 3 h w"]:
    """The fills with texture like that around the hole, or, of a model that draws its ``own``, with its grain alone.

    Fills whose texture is ``copied`` stay as they are: ``copying`` gives them theirs.  Pictures are RGB in [0, 1]; hole
    is 1 where erased; noise is standard normal.
    """
    if texture == "copied":
        return filled.to(view)
    match = borrow_texture if texture == "borrowed" else match_grain
    return match(filled.to(view), view, hole, noise)


def borrow_texture(
    filled: Float[Tensor, "n 3 h w"],
    view: Float[Tensor, "1 3 h w"],
    hole: Float[Tensor, "1 1 h w"],
    noise: Float[Tensor, "n 3 h w"],
) -> Float[Tensor, "n 3 h w"]:
    """The fills with as much texture laid over the hole as they lack of what is around it."""
    near = dilate(hole, NEAR_PX) - dilate(hole, 1)
    if not near.any():
        return filled
    # 1. what it is like around the hole, and how strong at each place
    detail = detail_of(view, 1 - dilate(hole, 1))
    median = detail[..., near[0, 0] > 0].abs().median(-1).values[..., None, None]
    limit = STRONGEST * median / MEDIAN_OF_NORMAL
    detail = detail.clamp(-limit, limit)
    strength = mean_around(detail.square(), near, STRENGTH_PX)
    # 2. how much of that the fill lacks
    own = mean_around(detail_of(filled, torch.ones_like(hole)).clamp(-limit, limit).square(), hole, STRENGTH_PX)
    lacking = (spread(strength, near) - own).clamp(min=0).sqrt()
    # 3. noise that looks like it; one for all channels, whose colours belong together
    even = near * detail / strength.sqrt().clamp_min(torch.finfo(strength.dtype).tiny)
    return (filled + lacking * noise_like(even, noise[:, :1].to(view)) * hole).clamp(0, 1)


def noise_like(pattern: Float[Tensor, "1 c h w"], noise: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n c h w"]:
    """White noise convolved with a pattern, around the edges: noise of the pattern's covariance, of variance 1."""
    length = pattern.square().sum((-2, -1), keepdim=True).sqrt()
    unit = pattern / length.clamp_min(torch.finfo(length.dtype).tiny)
    return torch.fft.irfft2(torch.fft.rfft2(noise) * torch.fft.rfft2(unit), s=noise.shape[-2:])


def detail_of(picture: Float[Tensor, "b 3 h w"], known: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "b 3 h w"]:
    """How each pixel differs from the known ones around it."""
    return picture - mean_around(picture, known, DETAIL_PX)


def mean_around(values: Float[Tensor, "b c h w"], known: Float[Tensor, "1 1 h w"], px: int) -> Float[Tensor, "b c h w"]:
    """The mean over the known values of a square around each pixel; 0 where there are none."""
    total, share = (averaged(part, px) for part in (values * known, known))
    return total / share.clamp_min(torch.finfo(share.dtype).tiny)


def averaged(values: Float[Tensor, "b c h w"], px: int) -> Float[Tensor, "b c h w"]:
    """The mean of a square around each pixel, 0 beyond the frame.

    As ``avg_pool2d`` has it, which is slow at this on a processor: across and then down, by adding what is beside.
    """
    height, width = values.shape[-2:]
    padded = F.pad(values, (px, px, px, px))
    across = padded[..., :width].clone()
    for offset in range(1, 2 * px + 1):
        across += padded[..., offset : offset + width]
    total = across[..., :height, :].clone()
    for offset in range(1, 2 * px + 1):
        total += across[..., offset : offset + height, :]
    return total / (2 * px + 1) ** 2
