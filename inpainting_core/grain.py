"""Give a fill the grain of the picture around it.

Photographs have noise, and autoencoders and networks leave it out: a fill that is too clean shows as a smooth patch
on an even background.  How strong the grain is is measured on the known pixels around the hole, and what the fill
lacks of it is added.

Texture is fine, too, and no grain: white noise over a fill that has it, if a little soft, is only noise.  Grain is as
strong at every scale (it is white), texture grows with the scale, by about the same factor from each to the next.  So
three scales tell how much of what is finest is grain.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.masks import dilate
from inpainting_core.shapes import Float

NEAR_PX = 24  # at the model's resolution: how far from the hole the grain is measured
MEDIAN_OF_NORMAL = 0.6745  # of the absolute value, for a standard deviation of 1

# What is left of white noise of standard deviation 1 has the same, and edges and ramps leave nothing (Immerkaer 1996,
# Fast noise variance estimation).
MASK = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
NORM = 6.0

# How texture's variance grows from a scale to the next; noise of 1/f amplitude has the latter.
LEAST_GROWTH, MOST_GROWTH = 1.5, 3.2
CHANCE = 2.0  # standard errors: as much of a difference may be chance
ERROR = 3.5  # of a variance by the median of n neighbouring numbers, relative to it, times the root of n


def match_grain(
    filled: Float[Tensor, "n 3 h w"],
    view: Float[Tensor, "1 3 h w"],
    hole: Float[Tensor, "1 1 h w"],
    noise: Float[Tensor, "n 3 h w"],
) -> Float[Tensor, "n 3 h w"]:
    """The fills with as much of ``noise`` (standard normal) in the hole as their grain is weaker than the picture's.

    Pictures are RGB in [0, 1]; hole is 1 where erased.  A fill that has the picture's grain, or more, stays as it is,
    and so does one that lacks no more of it than chance makes of two measurements.
    """
    near = dilate(hole, NEAR_PX) - dilate(hole, 1)
    inside = 1 - dilate(1 - hole, 1)  # a pixel off the edge on both sides, where the mask would see it
    grain, own = grain_of(view, near).square(), finest_of(filled, inside).square()
    lacking = (grain * (1 - _chance(near, inside)) - own).clamp(min=0).sqrt()
    return (filled + lacking * noise.to(filled) * hole).clamp(0, 1)


def grain_of(picture: Float[Tensor, "b 3 h w"], where: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "b 3 1 1"]:
    """The grain's standard deviation for each channel: the white part of what is finest.

    Of the variances g + t, g + f t and g + f f t at the picture's size, half and a quarter of it, g is the grain's.
    """
    half, quarter = _halved(picture, where), _halved(*_halved(picture, where))
    finest, finer, fine = (finest_of(*at).square() for at in ((picture, where), half, quarter))
    more = torch.where(finer > finest * (1 + _chance(where, half[1])), finer - finest, 0)  # 0 without any texture
    growth = (fine - finer) / more.clamp(min=torch.finfo(more.dtype).tiny)
    return (finest - more / (growth.clamp(LEAST_GROWTH, MOST_GROWTH) - 1)).clamp(min=0).sqrt()


def _halved(picture: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """The picture at half its size, where white noise keeps its strength, and where all of a pixel's four count."""
    mean, share = (F.avg_pool2d(part, 2, ceil_mode=True) for part in (picture, where))
    return 2 * mean, (share == 1).to(where)


def _chance(one: Tensor, other: Tensor) -> Float[Tensor, ""]:
    """How far two variances of the same noise may lie apart, relative to it, measured in these two places."""
    return CHANCE * ERROR * sum(1 / where.sum().clamp(min=1) for where in (one, other)) ** 0.5


def finest_of(picture: Float[Tensor, "b 3 h w"], where: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "b 3 1 1"]:
    """The standard deviation of what is finest for each channel, by the median, so that edges count for little.

    0 where there is nothing to measure it on.
    """
    if min(picture.shape[-2:]) < 2:
        return picture.new_zeros(*picture.shape[:2], 1, 1)
    kernel = picture.new_tensor(MASK)[None, None] / NORM
    padded = F.pad(picture.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="reflect")
    left = F.conv2d(padded, kernel).view_as(picture).abs()[..., where[0, 0] > 0]
    if left.shape[-1] == 0:
        return picture.new_zeros(*picture.shape[:2], 1, 1)
    return (left.median(-1).values / MEDIAN_OF_NORMAL)[..., None, None]
