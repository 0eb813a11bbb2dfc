"""Let a small network's fill take its structure and detail from a copy of the surroundings.

The network works on half as large a picture as the copy is made of (``complete``): it need not draw what is copied.
Its colours are a mean of all that might stand there, the copy's are those of one thing that might: each is wrong in
its own way.  So a little of the network's is taken, of what is coarser than texture.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.choosing import Copies, Fill
from inpainting_core.colour import match_colour
from inpainting_core.exemplar import copied_from, find_places
from inpainting_core.shapes import Float
from inpainting_core.still import StillCompletion
from inpainting_core.texture import mean_around

# The crop as the model sees it, its hole, and for each candidate the crop with a copy in the hole -> filled, one each.
Correction = Callable[[Tensor, Tensor, Tensor], Float[Tensor, "n 3 h w"]]

FINER = 2  # times as large as the network's is the picture that is copied
COARSE_PX = 6  # at the network's size: what a mean within so many pixels, taken twice, leaves over
SHARE = 0.1  # of it that is the network's


def copying(fill: Correction, generators: list[torch.Generator], frames: int) -> Fill:
    """A network's way to fill a hole, made one that copies, for crops of ``FINER`` times the network's resolution.

    One generator for each candidate, which ``fill`` draws from too.  Of several ``frames`` those that look alike are
    copied from the same places (``StillCompletion``); for one alone nothing is kept.
    """
    completion = StillCompletion() if frames > 1 else copy

    def copied(view: Float[Tensor, "1 3 h w"], hole: Float[Tensor, "1 1 h w"]) -> Copies:
        small, small_hole = smaller(view), F.max_pool2d(hole, FINER)
        made = [completion(view, hole, generator) for generator in generators]
        copies, sources = (torch.cat(part) for part in zip(*made, strict=True))
        drawn = match_colour(fill(small, small_hole, smaller(copies)).to(view), small, small_hole)
        return Copies(coarsely_as(drawn, copies, hole), sources)

    return copied


def copy(view: Float[Tensor, "1 3 h w"], hole: Float[Tensor, "1 1 h w"], generator: torch.Generator) -> Copies:
    """The picture with its hole filled by copies (``complete``), and from where."""
    return copied_from(find_places(view, hole, generator), view, hole)


def coarsely_as(
    drawn: Float[Tensor, "n 3 y x"], copies: Float[Tensor, "n 3 h w"], hole: Float[Tensor, "1 1 h w"]
) -> Float[Tensor, "n 3 h w"]:
    """The copies without a tenth of their coarse difference from the network's fills in the hole.  RGB in [0, 1]."""
    difference, inside = drawn - smaller(copies), F.max_pool2d(hole, FINER)
    for _ in range(2):
        difference = mean_around(difference, inside, COARSE_PX)
    coarse = F.interpolate(difference, copies.shape[-2:], mode="bilinear")
    return torch.where(hole > 0, (copies + SHARE * coarse).clamp(0, 1), copies)


def smaller(picture: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c y x"]:
    """The picture at the network's size."""
    return F.avg_pool2d(picture, FINER)
