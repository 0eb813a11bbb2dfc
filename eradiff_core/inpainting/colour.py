"""Match a fill's colours to the picture around it.

Autoencoders and networks shift colours, and a small one misses them by more.  Just outside the hole the truth is
known: what the fill shows there is compared with it, and the difference taken out of the fill, spread smoothly over
the hole, as a membrane would hang between its edges (Pérez et al. 2003, Poisson image editing).  So no step is left
along the hole's edge, while what the fill has of texture stays.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from eradiff_core.inpainting.shapes import Float

BAND_PX = 8  # at the model's resolution, a latent cell: how far from the hole fill and picture are compared
SWEEPS = 4  # more would follow the edge more closely, an object's left fringe and shadow included


def match_colour(
    filled: Float[Tensor, "b 3 h w"], view: Float[Tensor, "#b 3 h w"], hole: Float[Tensor, "#b 1 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """The fill with the difference that it shows on a band of known pixels around the hole taken out of all of it.

    Pictures are RGB in [0, 1]; hole is 1 where erased.
    """
    near = F.max_pool2d(hole, 2 * BAND_PX + 1, stride=1, padding=BAND_PX)
    return (filled + spread(view - filled, near * (1 - hole))).clamp(0, 1)


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
