"""A patchwork: what the copies that lie over each pixel of a hole agree on, and how they are joined without seams.

Each pixel is what the patches over it, each a copy of a known one, have there, better ones counting for more (Wexler,
Shechtman & Irani 2007, Space-time completion of video).  So are the steps from pixel to pixel, which colours then
follow (``gradients``): where one wall is copied in two lights, the fill goes evenly from one to the other.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from inpainting_core.gradients import joined, neighbours_of, steps_of
from inpainting_core.patches import AT_ONCE, SIDE, Grid, at, basis_of, codes_of
from inpainting_core.shapes import Float, Int

AGREEMENT, LAST_AGREEMENT = 1.5, 3.0  # how much better copies count for more, and in the last round


@dataclass(frozen=True, eq=False)
class Size:
    """The picture at one size, its colours, and texture where it is searched; ``known`` is 1 outside the hole."""

    picture: Float[Tensor, "1 c h w"]
    known: Float[Tensor, "1 1 h w"]

    @cached_property
    def grid(self) -> Grid:
        return Grid(1 - self.known)

    @cached_property
    def basis(self) -> Float[Tensor, "d c side side"]:
        return basis_of(self.picture, self.grid)

    @cached_property
    def codes(self) -> Float[Tensor, "n d"]:
        return codes_of(self.picture, self.basis)

    @cached_property
    def ends(self) -> tuple[Float[Tensor, "1 c 1 1"], Float[Tensor, "1 c 1 1"]]:
        """The lowest and the highest of each channel that is known."""
        known = self.known > 0
        lowest = torch.where(known, self.picture, torch.inf).amin((2, 3), keepdim=True)
        return lowest, torch.where(known, self.picture, -torch.inf).amax((2, 3), keepdim=True)

    @cached_property
    def open_pixels(self) -> Int[Tensor, "p 2"]:
        """Row and column of each pixel to be filled."""
        return (self.known[0, 0] == 0).nonzero()

    @cached_property
    def over(self) -> Int[Tensor, "p k"]:
        """For each pixel to be filled the targets that lie over it, by their place among the targets; -1 is none."""
        y, x = (self.open_pixels[:, axis, None] - offset for axis, offset in enumerate(offsets(self.known.device)))
        number = self.grid.number(y, x)
        return torch.where(number < 0, -1, self.grid.place[number])


class Places(NamedTuple):
    """Where each patch of a hole is copied from, a field of its ``Grid``, and how well it fits, a squared distance."""

    field: Int[Tensor, "t"]
    distance: Float[Tensor, "t"]


class Votes(NamedTuple):
    """For each pixel of a hole the pixels that copied patches have there, numbered row by row, and their weights."""

    source: Int[Tensor, "p k"]
    weight: Float[Tensor, "p k"]


def offsets(device: torch.device) -> tuple[Int[Tensor, "k"], Int[Tensor, "k"]]:
    """Row and column of each pixel in a patch."""
    k = torch.arange(SIDE**2, device=device)
    return k // SIDE, k % SIDE


def melded(size: Size, places: Places, agreement: float) -> Float[Tensor, "1 c h w"]:
    """The picture as the copies have it (``agreed``), and joined by the steps between its pixels that they agree on.

    No channel goes beyond what is known of it: joining alone may go a little further.
    """
    votes = votes_for(size, places, agreement)
    made = counted(size, votes, size.picture)
    return joined(made, steps_agreed(size, votes, made), 1 - size.known).clamp(*size.ends)


def steps_agreed(size: Size, votes: Votes, made: Float[Tensor, "1 c h w"]) -> Float[Tensor, "4 c h w"]:
    """``steps_of`` the hole's pixels as the votes have them; a copy from the frame has no say on what is beyond."""
    told = torch.cat([steps_of(made), neighbours_of(torch.ones_like(size.known))], 1)
    total = counted(size, votes, told.flatten(0, 1)[None])[0].unflatten(0, (4, -1))
    return total[:, :-1] / total[:, -1:].clamp_min(torch.finfo(total.dtype).tiny)


def agreed(size: Size, places: Places, agreement: float) -> Float[Tensor, "1 c h w"]:
    """The picture with each pixel of its hole as the patches copied over it have it, a mean that is weighted by how
    well they fit: e to the minus ``agreement`` times their distance beyond the best one's, in units of the mean one's.
    """
    return counted(size, votes_for(size, places, agreement), size.picture)


def votes_for(size: Size, places: Places, agreement: float) -> Votes:
    """What the copied patches say about each pixel of the hole, and how much each counts (``agreed``)."""
    some, place, width = size.over >= 0, size.over.clamp(min=0), size.picture.shape[-1]
    far = some * at(places.distance, place)
    mean = far.sum(1, keepdim=True) / some.sum(1, keepdim=True)
    best = far.masked_fill(~some, torch.inf).amin(1, keepdim=True)
    weight = some * torch.exp(-agreement * (far - best) / mean.clamp_min(torch.finfo(mean.dtype).tiny))
    down, right = offsets(place.device)
    top_left = places.field // size.grid.columns * width + places.field % size.grid.columns
    return Votes(at(top_left, place) + down * width + right, weight / weight.sum(1, keepdim=True))


def counted(size: Size, votes: Votes, picture: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c h w"]:
    """A picture of this size with each pixel of its hole as the votes have it."""
    pixels = picture[0].flatten(1).T.contiguous()
    told = [
        weight[:, None] @ at(pixels, source)
        for source, weight in zip(votes.source.split(AT_ONCE), votes.weight.split(AT_ONCE), strict=True)
    ]
    made = picture.clone()
    made[0, :, size.open_pixels[:, 0], size.open_pixels[:, 1]] = torch.cat(told)[:, 0].T
    return made


def best_sources(size: Size, places: Places) -> Int[Tensor, "1 2 h w"]:
    """Where each pixel of the hole stands in the best of the patches that are copied over it; -1 outside the hole."""
    best = at(places.distance, size.over.clamp(min=0)).masked_fill(size.over < 0, torch.inf).argmin(1)
    patch = places.field[size.over[torch.arange(len(best), device=best.device), best]]
    down, right = offsets(best.device)
    y, x = patch // size.grid.columns + down[best], patch % size.grid.columns + right[best]
    sources = torch.full((1, 2, *size.picture.shape[-2:]), -1, device=best.device)
    sources[0, :, size.open_pixels[:, 0], size.open_pixels[:, 1]] = torch.stack([y, x])
    return sources
