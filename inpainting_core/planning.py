"""Plan the crops that a hole is worked on in: near parts share one, a long thin part gets several.

A crop around a wire across a large picture would show it at a fraction of its size.  Such a part is cut into pieces
that overlap by their rings, each in a crop of its own, as if it had come as several masks.

Everything is held at the size of the part it is about, never at the picture's: a speck on 24 megapixels costs a speck.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from inpainting_core.crop import Crop, crop_mask, plan_crop
from inpainting_core.masks import NEIGHBOURS, Box, bounding_boxes, box_around, components, feather
from inpainting_core.shapes import Bool, Float, Int
from inpainting_core.thinness import is_thin, thin_arms

NEARLY = 0.8  # of its full size: a part that one crop shows at least so large needs no second


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of the hole: the box that just holds it (pixels of the picture), which pixels of the box it is, and the
    number of the object that it belongs to."""

    box: Box
    pixels: Bool[np.ndarray, "rows columns"]
    object: int


@dataclass(frozen=True, eq=False)
class Patch:
    """One crop and the part of the hole that it is for; ``blend`` weighs the fill at each pixel of ``box``.

    ``objects`` are the numbers of the objects of which some lies in it; near parts of a mask count as one object.
    """

    crop: Crop
    box: Box
    blend: Float[Tensor, "1 1 rows columns"]
    objects: frozenset[int]

    @property
    def hole(self) -> Float[Tensor, "1 1 rows columns"]:
        """Everywhere in the box the fill shows: the hole with its ring."""
        return (self.blend > 0).to(self.blend)


def plan_patches(mask: Float[Tensor, "1 1 h w"], resolution: int, context: float, margin_px: int) -> list[Patch]:
    """One patch for each part of the hole; near parts share one, a long thin part gets several.

    ``context`` is how much to see on each side, as a fraction of the part's box; ``margin_px`` is seen in any case.
    Parts are near where what must be seen of them overlaps, or lies within another part's crop anyway.
    """
    size = mask.shape[-2:]

    def crop_of(part: Part) -> Crop:
        return plan_crop(surroundings(part.box, size, context, margin_px), size, resolution)

    parts = [piece for part in _near_parts(mask, context, margin_px) for piece in _pieces(part, crop_of)]
    seen = {part: surroundings(part.box, size, context, margin_px) for part in parts}
    crops: dict[Crop, list[Part]] = {}
    for part in sorted(parts, key=lambda part: -_area(seen[part])):
        own = crop_of(part)
        host = next((crop for crop in crops if _holds(crop, seen[part]) and crop.scale >= NEARLY * own.scale), own)
        crops.setdefault(host, []).append(part)
    return [_patch(crop, parts) for crop, parts in crops.items()]


def with_ring(patch: Patch, radius_px: float, size: tuple[int, int]) -> Patch:
    """The patch with a ring of so many pixels around its part, over which its weight falls to 0."""
    pad = ceil(radius_px)
    top, left, bottom, right = patch.box
    box = max(0, top - pad), max(0, left - pad), min(size[0], bottom + pad), min(size[1], right + pad)
    plane = patch.blend.new_zeros(1, 1, box[2] - box[0], box[3] - box[1])
    plane[..., top - box[0] : bottom - box[0], left - box[1] : right - box[1]] = patch.blend
    return replace(patch, box=box, blend=feather(plane, radius_px))


def seen_holes(patches: list[Patch], crop: Crop, size: tuple[int, int]) -> Float[Tensor, "1 1 wh ww"]:
    """The holes of all as they show in one crop: nothing is painted from an object that still awaits its turn."""
    top, left = max(0, crop.top), max(0, crop.left)
    bottom, right = min(size[0], crop.top + crop.height), min(size[1], crop.left + crop.width)
    plane = torch.zeros(1, 1, bottom - top, right - left)
    for patch in patches:
        rows = slice(max(top, patch.box[0]), min(bottom, patch.box[2]))
        columns = slice(max(left, patch.box[1]), min(right, patch.box[3]))
        if rows.start < rows.stop and columns.start < columns.stop:
            there = plane[..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            y, x = patch.box[:2]
            own = patch.hole[..., rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
            torch.maximum(there, own, out=there)
    # where a crop reaches beyond the picture it holds all of it on that axis, so that the plane reflects as the picture
    return crop_mask(plane, crop.moved(-top, -left))


def surroundings(box: Box, size: tuple[int, int], context: float, margin_px: int) -> Box:
    """The box widened by ``context`` of its sides and at least ``margin_px``, within the picture."""
    top, left, bottom, right = box
    extra_y = max(margin_px, ceil((bottom - top) * context))
    extra_x = max(margin_px, ceil((right - left) * context))
    return max(0, top - extra_y), max(0, left - extra_x), min(size[0], bottom + extra_y), min(size[1], right + extra_x)


def _near_parts(mask: Float[Tensor, "1 1 h w"], context: float, margin_px: int) -> list[Part]:
    """The connected parts of the hole, joined where their surroundings meet, until none do."""
    size, (y, x, below, beside) = mask.shape[-2:], box_around(mask)
    labels = components(mask[..., y:below, x:beside])  # of a large picture most holds nothing
    boxes = np.array(bounding_boxes(labels), dtype=np.int64).reshape(-1, 4) + (y, x, y, x)
    group, cell = np.arange(len(boxes)), max(1, margin_px // 4)
    while True:
        seen = [surroundings(tuple(box), size, context, margin_px) for box in boxes.tolist()]
        joined = _meeting(seen, cell)
        if joined.max(initial=-1) + 1 == len(boxes):
            break
        boxes, group = _around_each(boxes, joined), joined[group]
    number_of, labels = np.concatenate([[0], group + 1]), labels.numpy()  # of each label, of which 0 is no hole
    return [
        Part(
            (top, left, bottom, right), number_of[labels[top - y : bottom - y, left - x : right - x]] == number, number
        )
        for number, (top, left, bottom, right) in enumerate(boxes.tolist(), 1)
    ]


def _meeting(boxes: list[Box], cell: int) -> Int[np.ndarray, "n"]:
    """The number of each box's group: boxes that share or touch a cell of a grid of so many pixels are of one group.

    A grid, because a mask of noise has a million specks, and each would have to be compared with each.
    """
    cells = [(top // cell, left // cell, -(-bottom // cell), -(-right // cell)) for top, left, bottom, right in boxes]
    plane = np.zeros([max((box[side] for box in cells), default=0) for side in (2, 3)], dtype=bool)
    for top, left, bottom, right in cells:
        plane[top:bottom, left:right] = True
    labels = ndimage.label(plane, NEIGHBOURS)[0]
    return np.array([labels[top, left] - 1 for top, left, _, _ in cells], dtype=np.int64)


def _around_each(boxes: Int[np.ndarray, "n 4"], group: Int[np.ndarray, "n"]) -> Int[np.ndarray, "m 4"]:
    """The box around all boxes of each group."""
    order = group.argsort(kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))
    first, last = np.minimum.reduceat(boxes[order], starts), np.maximum.reduceat(boxes[order], starts)
    return np.concatenate([first[:, :2], last[:, 2:]], 1)


def _pieces(part: Part, crop_of: Callable[[Part], Crop]) -> list[Part]:
    """The part itself, or the pieces that it is cut into where one crop would show a thin part reduced."""
    if crop_of(part).scale >= NEARLY:
        return [part]
    smaller = _halves(part)
    if not any(is_thin(one.pixels) for one in (part, *smaller)):
        smaller = _body_and_arms(part)
    if len(smaller) == 1:
        return [part]
    return [piece for one in smaller for piece in _pieces(one, crop_of)]


def _body_and_arms(part: Part) -> list[Part]:
    """A thick part without the long thin ones that hang on it, and each of those; the part itself where none does."""
    arms = thin_arms(part.pixels)
    body = part.pixels & ~np.logical_or.reduce(arms) if arms else part.pixels
    planes = [plane for plane in (body, *arms) if plane.any()]
    return [_trimmed(plane, *part.box[:2], part.object) for plane in planes]


def _halves(part: Part) -> list[Part]:
    """The part cut across its longer side; each half in the box that just holds it."""
    rows, columns = part.pixels.shape
    axis, middle = (0, rows // 2) if rows >= columns else (1, columns // 2)
    first, second = np.split(part.pixels, [middle], axis)
    top, left = part.box[:2]
    further = (top + middle, left) if axis == 0 else (top, left + middle)
    return [_trimmed(first, top, left, part.object), _trimmed(second, *further, part.object)]


def _trimmed(pixels: Bool[np.ndarray, "rows columns"], top: int, left: int, object: int) -> Part:
    rows, columns = (pixels.any(axis).nonzero()[0] for axis in (1, 0))
    box = top + rows[0], left + columns[0], top + rows[-1] + 1, left + columns[-1] + 1
    return Part(tuple(map(int, box)), pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], object)


def _patch(crop: Crop, parts: list[Part]) -> Patch:
    """All parts of one crop together."""
    boxes = np.array([part.box for part in parts])
    top, left, bottom, right = _around_each(boxes, np.zeros(len(parts), dtype=np.int64))[0].tolist()
    plane = torch.zeros(1, 1, bottom - top, right - left)
    for part in parts:
        y, x = part.box[0] - top, part.box[1] - left
        there = plane[0, 0, y : y + part.pixels.shape[0], x : x + part.pixels.shape[1]]
        there[torch.from_numpy(part.pixels)] = 1
    return Patch(crop, (top, left, bottom, right), plane, frozenset(part.object for part in parts))


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _holds(crop: Crop, box: Box) -> bool:
    inside_y = crop.top <= box[0] and box[2] <= crop.top + crop.height
    return inside_y and crop.left <= box[1] and box[3] <= crop.left + crop.width
