"""Crop around a hole at the model's own resolution, and stitch the fill back.

A crop is never stretched: its sides in the picture and in front of the model have exactly the same ratio.
Where it reaches beyond the picture, the picture is reflected.
"""

from dataclasses import dataclass, replace
from math import ceil, gcd

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.masks import Box, to_grid
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

    @property
    def scale(self) -> float:
        """The model's pixels for one of the picture's."""
        return self.work_height / self.height

    def moved(self, down: int, right: int) -> "Crop":
        """The same window of a picture whose corner lies elsewhere."""
        return replace(self, top=self.top + down, left=self.left + right)


def plan_crop(box: Box, size: tuple[int, int], resolution: int) -> Crop:
    """The crop that shows a box best: the least reduced one, then the one with most of the picture in it.

    Of several that show it equally well the smallest is taken, and of these the widest.
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
    seen = min(crop.height, size[0]) * min(crop.width, size[1])
    return crop.scale, seen, -crop.height * crop.width


def crop_picture(image: Float[Tensor, "b c h w"], crop: Crop) -> Float[Tensor, "b c wh ww"]:
    """What the model sees of a picture, reflected beyond its border; values stay in the range that they have."""
    return as_seen(window(image, crop), crop)


def crop_mask(mask: Float[Tensor, "b 1 h w"], crop: Crop) -> Float[Tensor, "b 1 wh ww"]:
    """What the model sees of a mask: a pixel that holds any hole is hole."""
    return to_grid(window(mask, crop), crop.work_height, crop.work_width)


def stitch(
    image: Float[Tensor, "b c h w"], fill: Float[Tensor, "b c wh ww"], crop: Crop, blend: Float[Tensor, "#b 1 h w"]
) -> Float[Tensor, "b c h w"]:
    """The inverse of ``crop_picture``: the fill laid over the picture where ``blend`` > 0, bit-exact elsewhere."""
    stitched = image.clone()
    stitch_into(stitched, fill, crop, blend, (0, 0, *image.shape[-2:]))
    return stitched


def stitch_into(
    image: Float[Tensor, "b c h w"],
    fill: Float[Tensor, "b c wh ww"],
    crop: Crop,
    blend: Float[Tensor, "#b 1 rows columns"],
    box: Box,
    detail: Float[Tensor, "b c rows columns"] | None = None,
) -> None:
    """Lay the fill over the picture, in place; ``blend`` weighs it at each pixel of ``box``, and only there.

    ``detail`` is what a fill that was made smaller could not hold, at each pixel of ``box``; it is added.  In half
    precision the difference of two pixels of an HDR picture may be infinite: it is reckoned with as single.
    """
    top, left = max(crop.top, box[0]), max(crop.left, box[1])
    bottom, right = min(crop.top + crop.height, box[2]), min(crop.left + crop.width, box[3])
    under = image[..., top:bottom, left:right]
    seen = at_least_fp32(under)
    fill = resize(fill, crop.height, crop.width).to(seen)
    fill = fill[..., top - crop.top : bottom - crop.top, left - crop.left : right - crop.left]
    inside = slice(top - box[0], bottom - box[0]), slice(left - box[1], right - box[1])
    weight = blend[(..., *inside)].to(seen)
    if detail is not None:
        low, high = seen.amin().clamp(max=0), seen.amax().clamp(min=1)
        fill = (fill + detail[(..., *inside)].to(seen)).clamp(low, high)
    under.copy_(torch.where(weight > 0, seen + weight * (fill - seen), seen))


def window(picture: Float[Tensor, "b c h w"], crop: Crop) -> Float[Tensor, "b c {crop.height} {crop.width}"]:
    """The crop at the picture's own size, reflected beyond its border, row by row however the picture is laid out.

    Within a picture that is so too it is a view of it.
    """
    height, width = picture.shape[-2:]
    bottom, right = crop.top + crop.height, crop.left + crop.width
    if 0 <= crop.top and bottom <= height and 0 <= crop.left and right <= width:
        seen = picture[..., crop.top : bottom, crop.left : right]
        return seen if seen.stride(-1) == 1 else seen.contiguous()
    rows = _reflected(crop.top, crop.height, picture.shape[-2]).to(picture.device)
    columns = _reflected(crop.left, crop.width, picture.shape[-1]).to(picture.device)
    return picture.index_select(-2, rows).index_select(-1, columns)


def as_seen(picture: Float[Tensor, "b c h w"], crop: Crop) -> Float[Tensor, "b c wh ww"]:
    """A window at the size that the model sees it at."""
    return resize(picture, crop.work_height, crop.work_width)


def _reflected(start: int, length: int, available: int) -> Int[Tensor, "{length}"]:
    """Positions from ``start`` on, folded back at both ends as often as needed; the edge is not repeated."""
    period = max(1, 2 * (available - 1))
    folded = torch.arange(start, start + length).remainder(period)
    return torch.minimum(folded, period - folded) if available > 1 else torch.zeros(length, dtype=torch.long)


def resize(picture: Tensor, height: int, width: int) -> Tensor:
    """Bicubic, less what the filter shoots beyond [0, 1], or beyond the picture's own range where that is wider."""
    if picture.shape[-2:] == (height, width):
        return picture
    own = {"dim": (-3, -2, -1), "keepdim": True}
    low, high = picture.amin(**own).clamp(max=0), picture.amax(**own).clamp(min=1)
    resized = F.interpolate(at_least_fp32(picture), (height, width), mode="bicubic", antialias=True)
    return resized.to(picture).clamp(low, high)


def at_least_fp32(picture: Tensor) -> Tensor:
    """Half precision as single: a CPU has no such filter for it, and sums of it may be infinite."""
    return picture.to(torch.promote_types(picture.dtype, torch.float32))
