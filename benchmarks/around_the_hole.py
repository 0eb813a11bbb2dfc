"""How far a fill is from the truth: PSNR in the hole, and a perceptual distance of its surroundings."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def psnr_in(mask: Tensor, result: Tensor, truth: Tensor) -> float:
    """PSNR in dB over the pixels of the mask."""
    error = (result - truth).square()[mask.expand_as(truth) > 0].mean()
    return float(-10 * error.log10())


def box_of(mask: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the mask's box and a quarter of it more on each side."""
    sides = []
    for dim in (1, 0):
        places = mask[0, 0].any(dim).nonzero()[:, 0]
        first, last = int(places[0]), int(places[-1]) + 1
        more = (last - first) // 4
        sides.append(slice(max(0, first - more), last + more))
    return sides[0], sides[1]


@torch.no_grad()
def perceptual_in(distance: torch.nn.Module, mask: Tensor, result: Tensor, truth: Tensor) -> float:
    """A perceptual distance of two pictures around the mask."""
    rows, columns = box_of(mask)
    crops = [interpolate(x[..., rows, columns], (256, 256), mode="bilinear", antialias=True) for x in (result, truth)]
    return float(distance(*[2 * crop - 1 for crop in crops]))
