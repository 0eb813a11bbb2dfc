"""Match a fill's colours to the picture around it.

Autoencoders and networks shift colours, and a small one misses them by more.  Just outside the hole the truth is
known: what the fill shows there is compared with it, and the difference taken out of the fill, spread smoothly over
the hole, as a membrane would hang between its edges (Pérez et al. 2003, Poisson image editing).  So no step is left
along the hole's edge, while what the fill has of texture stays.  A fill that is a little soft differs at every pixel
too, now to one side and now to the other: that is no shift of colour, and is left alone.

Nor does a fill show what nothing around it is like: each channel keeps near the range that is seen, so that a hole in
plain white or black is filled with just that, and there is no chroma where none is seen.
"""

import torch
from torch import Tensor

from inpainting_core.masks import dilate
from inpainting_core.membrane import spread
from inpainting_core.shapes import Float
from inpainting_core.texture import averaged, mean_around

BAND_PX = 8  # at the model's resolution, a latent cell: how far from the hole fill and picture are compared
AROUND_PX = 2  # how far the differences are averaged that chance is told by
BEYOND = 0.5  # of the range that is seen: how far beyond either end of it a fill may go
COLOURLESS = 1.5 / 255  # the largest difference between a pixel's channels in a picture that counts as grey


def match_colour(
    filled: Float[Tensor, "b 3 h w"], view: Float[Tensor, "#b 3 h w"], hole: Float[Tensor, "#b 1 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """The fill with the difference that it shows on a band of known pixels around the hole taken out of all of it.

    Pictures are RGB in [0, 1]; hole is 1 where erased.
    """
    band = dilate(hole, BAND_PX) * (1 - hole)
    apart = view - filled
    matched = filled + spread(share_beyond_chance(apart, band) * apart, band)
    return _as_grey_as(view, hole, _within_range_of(view, hole, matched))


def share_beyond_chance(apart: Float[Tensor, "b 3 h w"], band: Float[Tensor, "#b 1 h w"]) -> Float[Tensor, "b 3 1 1"]:
    """How much of a channel's difference on the band is a shift: 1 of an even one, 0 where its means over a few pixels
    are no larger than those of differences that fall to either side at random (Wiener's weight)."""
    mean, power = (mean_around(part, band, AROUND_PX) for part in (apart, apart.square()))
    several = averaged(band, AROUND_PX) * (2 * AROUND_PX + 1) ** 2
    error = (power - mean.square()).clamp(min=0) / several.clamp(min=1)
    found, chance = ((part * band).sum((2, 3), keepdim=True) for part in (mean.square(), error))
    return ((found - chance) / found.clamp(min=torch.finfo(found.dtype).tiny)).clamp(min=0)


def _within_range_of(view: Tensor, hole: Tensor, filled: Tensor) -> Tensor:
    """The fill with each channel held near the range that its known pixels have, and within [0, 1]."""
    lowest = torch.where(hole > 0, 1, view).amin((2, 3), keepdim=True)
    highest = torch.where(hole > 0, 0, view).amax((2, 3), keepdim=True)
    more = BEYOND * (highest - lowest).abs()  # where nothing is known, 1 and 0 have come out the other way round
    return filled.clamp(torch.minimum(lowest, highest) - more, torch.maximum(lowest, highest) + more).clamp(0, 1)


def _as_grey_as(view: Tensor, hole: Tensor, filled: Tensor) -> Tensor:
    """The fill, without chroma where the known pixels have none."""
    chroma = (view.amax(1, keepdim=True) - view.amin(1, keepdim=True)) * (1 - hole)
    grey = chroma.amax((1, 2, 3), keepdim=True) <= COLOURLESS
    return torch.where(grey, filled.mean(1, keepdim=True), filled)
