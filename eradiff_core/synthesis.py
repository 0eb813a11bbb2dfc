"""Dynamic image synthesis (EraDiff, section 4.1): a picture's own object, pasted again onto its background.

The pair costs no second photograph: the original is the truth, the picture with the copies is what must be erased.
Several copies make the look-alikes at which erasers fail most often.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.masks import grow
from inpainting_core.shapes import Float

TRIES = 20  # places looked at for one copy

# A picture [3, h, w] and a copy [4, h, w] (``cut_out``) that is to lie on it: the picture in the copy's shadow.
Cast = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Ranges:
    """What the paper leaves open, each drawn uniformly.

    ``copies`` and ``grow_px`` (how far the hole reaches beyond the copy) are whole numbers, both ends included;
    ``scale`` is relative to the object's own size, which is cut to ``largest`` of the picture's shorter side; at most
    ``overlap`` of a copy may lie on the object or on another copy, or outside the picture.
    A mask that a person draws is seldom an outline: ``boxes`` is the share of holes that are the copies' boxes, and
    ``loose`` that of holes that reach further by ``loose_by`` of the shorter side.
    """

    copies: tuple[int, int] = (1, 3)
    scale: tuple[float, float] = (0.5, 1.5)
    turn_deg: float = 45.0
    largest: float = 0.6
    overlap: float = 0.1
    grow_px: tuple[int, int] = (2, 12)
    boxes: float = 0.0
    loose: float = 0.0
    loose_by: tuple[float, float] = (0.05, 0.15)


class NoRoom(ValueError):
    """No copy of the object fits onto the picture's background."""


@dataclass(frozen=True, eq=False)
class Pair:
    """``original`` and ``with_object`` differ only in the hole, ``mask`` = 1, and in what copies cast, ``effect`` = 1.

    The effect is what lies beyond the copies themselves; the hole may hold some of it.
    """

    original: Float[Tensor, "3 h w"]
    with_object: Float[Tensor, "3 h w"]
    mask: Float[Tensor, "1 h w"]
    effect: Float[Tensor, "1 h w"]


def synthesise(
    image: Float[Tensor, "3 h w"],
    alpha: Float[Tensor, "1 h w"],
    thing: Float[Tensor, "4 th tw"],
    generator: torch.Generator,
    ranges: Ranges = Ranges(),
    cast: Cast | None = None,
) -> Pair:
    """Paste copies of ``thing`` (``cut_out`` gives it) onto the part of the picture that ``alpha`` leaves free.

    RGB and alpha in [0, 1].  ``cast`` gives each copy a shadow or a reflection.  Raises NoRoom where not even one copy
    finds a place.
    """
    occupied, pasted, with_object, boxes = alpha, torch.zeros_like(alpha), image, torch.zeros_like(alpha)
    for _ in range(_integer(ranges.copies, generator)):
        copy = _find_place(thing, occupied, generator, ranges)
        if copy is None:
            continue
        occupied, pasted = torch.maximum(occupied, copy[3:]), torch.maximum(pasted, copy[3:])
        below = cast(with_object, copy) if cast else with_object
        with_object = torch.where(copy[3:] > 0, copy[:3] + (1 - copy[3:]) * below, below)
        boxes[_box(copy[3:])] = 1
    if not pasted.any():
        raise NoRoom(f"a copy must find {1 - ranges.overlap:.0%} of itself free of the object, got no place for it.")
    effect = ((with_object != image).any(0, keepdim=True) & (pasted == 0)).to(alpha)
    reach, form = _integer(ranges.grow_px, generator), _uniform(0, 1, generator)
    if ranges.boxes <= form < ranges.boxes + ranges.loose:
        reach += round(_uniform(*ranges.loose_by, generator) * min(image.shape[1:]))
    mask = grow(boxes[None] if form < ranges.boxes else (pasted > 0).float()[None], reach)[0]
    assert not ((with_object != image) & (mask + effect == 0)).any(), "the pair differs outside hole and effect"
    return Pair(image, with_object, mask, effect)


def cut_out(image: Float[Tensor, "3 h w"], alpha: Float[Tensor, "1 h w"]) -> Float[Tensor, "4 th tw"]:
    """The object in its box: RGB multiplied by alpha, and alpha.  Raises ValueError for an alpha of nothing but 0."""
    if not alpha.any():
        raise ValueError("alpha must be above 0 somewhere, got an empty one.")
    return torch.cat([image * alpha, alpha])[_box(alpha)]


def _box(alpha: Float[Tensor, "1 h w"]) -> tuple[slice, slice, slice]:
    """Where a layer of [c, h, w] is not transparent."""
    rows, columns = (alpha[0].any(dim).nonzero()[:, 0] for dim in (1, 0))
    return slice(None), slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _find_place(
    thing: Float[Tensor, "4 th tw"], occupied: Float[Tensor, "1 h w"], generator: torch.Generator, ranges: Ranges
) -> Float[Tensor, "4 h w"] | None:
    """The thing turned, scaled and flipped on an empty canvas, where it covers little of what is occupied."""
    height, width = occupied.shape[1:]
    for _ in range(TRIES):
        largest = ranges.largest * min(height, width) / max(thing.shape[1:])
        scale = min(_uniform(*ranges.scale, generator), largest)
        scaled = _scaled(thing, scale)
        turn = math.radians(_uniform(-ranges.turn_deg, ranges.turn_deg, generator))
        flipped = bool(torch.rand((), generator=generator) < 0.5)
        centre = _uniform(0, width, generator), _uniform(0, height, generator)
        copy = _on_canvas(scaled.flip(2) if flipped else scaled, turn, centre, height, width)
        whole = scaled[3].sum()
        if (copy[3:] * (1 - occupied)).sum() >= (1 - ranges.overlap) * whole and copy[3].max() > 0.5:
            return copy
    return None


def _scaled(thing: Float[Tensor, "4 th tw"], factor: float) -> Float[Tensor, "4 sh sw"]:
    size = [max(1, round(side * factor)) for side in thing.shape[1:]]
    return F.interpolate(thing[None], size, mode="bilinear", antialias=True)[0]


def _on_canvas(
    thing: Float[Tensor, "4 th tw"], turn: float, centre: tuple[float, float], height: int, width: int
) -> Float[Tensor, "4 {height} {width}"]:
    """The thing turned about its middle, which lies at ``centre`` (x, y) in pixels; transparent elsewhere."""
    rows, columns = thing.shape[1:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    dx, dy = x - centre[0], y - centre[1]
    across = (math.cos(turn) * dx + math.sin(turn) * dy) * 2 / columns
    down = (math.cos(turn) * dy - math.sin(turn) * dx) * 2 / rows
    return F.grid_sample(thing[None], torch.stack([across, down], -1)[None], align_corners=False)[0]


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _integer(ends: tuple[int, int], generator: torch.Generator) -> int:
    return int(torch.randint(ends[0], ends[1] + 1, (), generator=generator))
