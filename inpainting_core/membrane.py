"""Spread what is known over what is not, as a membrane would hang between its edges (Pérez et al. 2003)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.shapes import Float

SWEEPS = 4  # more would follow the edge more closely, an object's left fringe and shadow included


def spread(values: Float[Tensor, "b c h w"], known: Float[Tensor, "#b 1 h w"]) -> Float[Tensor, "b c h w"]:
    """Values as they are where ``known`` is 1, and smoothly from there everywhere else; 0 where nothing is known.

    Halve the picture until all of it is known, fill each size's gaps from the one below, and let every gap come to
    rest between its neighbours (pull-push, Gortler et al. 1996, with the sweeps of a multigrid).
    """
    height, width = values.shape[-2:]
    if height == 1 and width == 1:
        return values * (known > 0)
    total, share = (
        F.avg_pool2d(part, (min(2, height), min(2, width)), ceil_mode=True) for part in (values * known, known)
    )
    mean = torch.where(share > 0, total / share.clamp_min(torch.finfo(share.dtype).tiny), 0)
    below = spread(mean, (2 * share).clamp(max=1))
    gaps = F.interpolate(below, (height, width), mode="bilinear")
    for _ in range(SWEEPS):
        surface = known * values + (1 - known) * gaps
        gaps = F.avg_pool2d(F.pad(surface, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return known * values + (1 - known) * gaps
