"""Crop around a hole at the model's own resolution, and stitch the fill back.

A crop is never stretched: its sides in the picture and in front of the model have exactly the same ratio.
Where it reaches beyond the picture, the picture is reflected.
"""

from dataclasses import dataclass
from math import ceil, gcd

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.masks import Box, bounding_boxes, components, to_grid
from inpainting_core.shapes import Float, Int

GRID = 64  # pixels; a UNet halves its latent three times, the latent is an eighth of the picture
LONGEST = 4  # times the short side; longer work shapes are out of every model's experience


@dataclass(frozen=True)
class Crop:
    """A window of the picture (pixels; may reach beyond it) and the size at which the model sees it."""

    top: int
    left: int
    height: int
    width: int
    work_height: int
    work_width: int


@dataclass(frozen=True)
class Patch:
    """One crop and the part of the hole that it is for; ``blend`` weighs the fill at each pixel of the picture."""

    crop: Crop
    blend: Float[Tensor, "1 1 h w"]

    @property
    def hole(self) -> Float[Tensor, "1 1 h w"]:
        """Everywhere the fill shows: the hole with its ring."""
        return (self.blend > 0).to(self.blend)


def plan_patches(mask: Float[Tensor, "1 1 h w"], resolution: int, context: float, margin_px: int) -> list[Patch]:
    """One patch for each part of the hole; near parts share one.

    ``context`` is how much to see on each side, as a fraction of the part's box; ``margin_px`` is seen in any case.
    Parts are near where what must be seen of them overlaps, or lies within another part's crop anyway.
    """
    size = mask.shape[-2:]
    labels, boxes = _near_parts(components(mask), context, margin_px)
    crops: dict[Crop, list[int]] = {}
    for label, box in sorted(enumerate(boxes, start=1), key=lambda part: -_area(part[1])):
        host = next((crop for crop in crops if _holds(crop, box)), None)
        crops.setdefault(host or plan_crop(box, size, resolution), []).append(label)
    return [Patch(crop, torch.isin(labels, torch.tensor(own)).to(mask)[None, None]) for crop, own in crops.items()]


def _near_parts(labels: Int[Tensor, "h w"], context: float, margin_px: int) -> tuple[Int[Tensor, "h w"], list[Box]]:
    """Join parts whose surroundings overlap until none do; also what must be seen of each joined part."""
    boxes = [_surroundings(box, labels.shape, context, margin_px) for box in bounding_boxes(labels)]
    seen = torch.zeros(1, 1, *labels.shape)
    for top, left, bottom, right in boxes:
        seen[..., top:bottom, left:right] = 1
    joined = components(seen) * (labels > 0)
    return (labels, boxes) if joined.max() == labels.max() else _near_parts(joined, context, margin_px)


def _surroundings(box: Box, size: tuple[int, int], context: float, margin_px: int) -> Box:
    """The box widened by ``context`` of its sides and at least ``margin_px``, within the picture."""
    top, left, bottom, right = box
    extra_y = max(margin_px, ceil((bottom - top) * context))
    extra_x = max(margin_px, ceil((right - left) * context))
    return max(0, top - extra_y), max(0, left - extra_x), min(size[0], bottom + extra_y), min(size[1], right + extra_x)


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _holds(crop: Crop, box: Box) -> bool:
    inside_y = crop.top <= box[0] and box[2] <= crop.top + crop.height
    return inside_y and crop.left <= box[1] and box[3] <= crop.left + crop.width


def plan_crop(box: Box, size: tuple[int, int], resolution: int) -> Crop:
    """The crop that shows a box best: the least reduced one, then the one with most of the picture in it.

    A picture is enlarged only if it is smaller than the model's resolution itself.
    """
    if resolution < GRID:
        raise ValueError(f"resolution must be at least {GRID} px, got {resolution}.")
    largest_scale = max(1.0, resolution / min(size))
    crops = [_crop_of_shape(box, size, h, w, largest_scale) for h, w in work_shapes(resolution)]
    return max(crops, key=lambda crop: _merit(crop, size))


def work_shapes(resolution: int) -> list[tuple[int, int]]:
    """Every height and width on the 64 px grid with at most the area of a square of ``resolution``."""
    cells = (resolution // GRID) ** 2
    shapes = [(i, j) for i in range(1, cells + 1) for j in range(1, cells // i + 1)]
    return [(i * GRID, j * GRID) for i, j in shapes if max(i, j) <= LONGEST * min(i, j)]


def _crop_of_shape(box: Box, size: tuple[int, int], work_height: int, work_width: int, largest_scale: float) -> Crop:
    """The smallest window of exactly this shape's ratio that holds the box, moved into the picture where it fits."""
    common = gcd(work_height, work_width)
    unit_y, unit_x = work_height // common, work_width // common
    top, left, bottom, right = box
    units = max(ceil((bottom - top) / unit_y), ceil((right - left) / unit_x), ceil(common / largest_scale))
    height, width = units * unit_y, units * unit_x
    return Crop(
        _place((top + bottom - height) // 2, height, size[0]),
        _place((left + right - width) // 2, width, size[1]),
        height,
        width,
        work_height,
        work_width,
    )


def _place(start: int, length: int, available: int) -> int:
    """Keep a window inside the picture; one that is longer than the picture is centred on it."""
    return max(0, min(start, available - length)) if length <= available else (available - length) // 2


def _merit(crop: Crop, size: tuple[int, int]) -> tuple[float, int, int]:
    scale = crop.work_height / crop.height
    seen = min(crop.height, size[0]) * min(crop.width, size[1])
    return scale, seen, -crop.height * crop.width


def crop_picture(image: Float[Tensor, "b c h w"], crop: Crop) -> Float[Tensor, "b c wh ww"]:
    """What the model sees of a picture, reflected beyond its border; RGB in [0, 1] stays in [0, 1]."""
    return _resize(_window(image, crop), crop.work_height, crop.work_width)


def crop_mask(mask: Float[Tensor, "b 1 h w"], crop: Crop) -> Float[Tensor, "b 1 wh ww"]:
    """What the model sees of a mask: a pixel that holds any hole is hole."""
    return to_grid(_window(mask, crop), crop.work_height, crop.work_width)


def stitch(
    image: Float[Tensor, "b 3 h w"], fill: Float[Tensor, "b 3 wh ww"], crop: Crop, blend: Float[Tensor, "#b 1 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """The inverse of ``crop_picture``: lay the fill over the picture where ``blend`` > 0, bit-exact elsewhere."""
    height, width = image.shape[-2:]
    rows = slice(max(0, crop.top), min(height, crop.top + crop.height))
    columns = slice(max(0, crop.left), min(width, crop.left + crop.width))
    fill = _resize(fill, crop.height, crop.width).to(image)
    fill = fill[..., rows.start - crop.top : rows.stop - crop.top, columns.start - crop.left : columns.stop - crop.left]
    weight = blend[..., rows, columns].to(image)
    under = image[..., rows, columns]
    stitched = image.clone()
    stitched[..., rows, columns] = torch.where(weight > 0, under + weight * (fill - under), under)
    return stitched


def _window(picture: Tensor, crop: Crop) -> Tensor:
    rows = _reflected(crop.top, crop.height, picture.shape[-2]).to(picture.device)
    columns = _reflected(crop.left, crop.width, picture.shape[-1]).to(picture.device)
    return picture.index_select(-2, rows).index_select(-1, columns)


def _reflected(start: int, length: int, available: int) -> Int[Tensor, "{length}"]:
    """Positions from ``start`` on, folded back at both ends as often as needed; the edge is not repeated."""
    period = max(1, 2 * (available - 1))
    folded = torch.arange(start, start + length).remainder(period)
    return torch.minimum(folded, period - folded) if available > 1 else torch.zeros(length, dtype=torch.long)


def _resize(picture: Tensor, height: int, width: int) -> Tensor:
    if picture.shape[-2:] == (height, width):
        return picture
    return F.interpolate(picture, (height, width), mode="bicubic", antialias=True).clamp(0, 1)
