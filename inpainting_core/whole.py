"""A network's own picture: its answer for a whole picture, with nothing laid over it.

It is what the papers' authors score: no crop around the hole, no original beside it, no colour, grain or seam.
"""

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor

from inpainting_core.alpha import crop_visible, with_alpha_of
from inpainting_core.choosing import Fill
from inpainting_core.crop import GRID, Crop, stitch, window
from inpainting_core.erasing import Erased, check_picture, ring_px
from inpainting_core.exposure import Exposure
from inpainting_core.masks import as_mask, grow, to_grid
from inpainting_core.shapes import Float

Reduce = Callable[[Tensor, int, int], Tensor]  # a mask to so many rows and columns: ``to_grid`` or ``to_nearest``


def fill_whole(
    image: Tensor,
    mask: Tensor,
    fill: Fill,
    *,
    grow_px: float = 0,
    shape: tuple[int, int] | None = None,
    reduce: Reduce = to_grid,
) -> Erased:
    """What ``fill`` makes of whole pictures; they may differ from the given ones everywhere.

    image: ``[b, 3 or 4, h, w]`` in [0, 1], RGB or RGB and alpha, which is handed through.  mask: any of ComfyUI's
    shapes, 1 where to erase; several for a single picture unite.
    With a ``shape`` (height, width) a picture is squeezed to it, whatever its aspect, and the answer back to its size,
    both bicubic with antialiasing, and the mask by ``reduce``.  Without, it is reflected at the right and below to
    multiples of 64 px, and the answer is cut.  ``grow_px`` as in ``erase_holes``.  An empty mask gives the picture
    back.  Raises ValueError for a picture or a mask that does not fit.
    """
    check_picture(image)
    crop = whole_picture(image.shape[-2:], shape)
    holes = as_mask(mask, *image.shape[-2:], frames=len(image)).to(image).expand(len(image), -1, -1, -1)
    grown = torch.cat([grow(hole, ring_px(crop, grow_px)) for hole in holes.split(1)])
    if bool(grown.flatten(1).all(1).any()):
        raise ValueError(
            "mask must leave some of the picture to look at, got one that covers all of it. Invert it, or cover less."
        )
    pairs = zip(image.split(1), grown.split(1), strict=True)
    filled = [_fill_one(*pair, fill, crop, reduce) if pair[1].any() else pair[0][:, :3] for pair in pairs]
    picture = with_alpha_of(image, torch.cat(filled))
    changed = grown.amax((2, 3), keepdim=True).expand_as(grown).clone()
    objects = int(changed[:, 0, 0, 0].sum())
    told = {"highest": float(mask.max()), "share": float(holes.mean((1, 2, 3)).max())}
    return Erased(picture, changed, (crop,) * objects, picture, (1,) * objects, (0.0,) * objects, objects, **told)


def _fill_one(
    image: Float[Tensor, "1 c h w"], grown: Float[Tensor, "1 1 h w"], fill: Fill, crop: Crop, reduce: Reduce
) -> Float[Tensor, "1 3 h w"]:
    view = crop_visible(image[:, :3], image[:, 3:], crop)
    hole = reduce(window(grown, crop), crop.work_height, crop.work_width)
    exposure = Exposure.of(view, hole)
    filled = exposure.out_of_range(fill(exposure.into_range(view), hole))
    return stitch(image[:, :3], filled, crop, torch.ones_like(grown))


def whole_picture(size: tuple[int, int], shape: tuple[int, int] | None = None) -> Crop:
    """All of a picture of this height and width as one crop: squeezed to a shape, or on the grid at its own size.

    Raises ValueError for a shape that is not on the grid.
    """
    if shape is not None:
        if any(side < GRID or side % GRID for side in shape):
            raise ValueError(f"height and width must be multiples of {GRID} px, got {shape[0]} and {shape[1]}.")
        return Crop(0, 0, *size, *shape)
    height, width = (ceil(side / GRID) * GRID for side in size)
    return Crop(0, 0, height, width, height, width)
