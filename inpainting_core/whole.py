"""A network's own picture: its answer for a whole picture, with nothing laid over it.

It is what the papers' authors score: no crop around the hole, no original beside it, no colour, grain or seam.
"""

from math import ceil

import torch
from torch import Tensor

from inpainting_core.alpha import crop_visible, with_alpha_of
from inpainting_core.choosing import Fill
from inpainting_core.crop import GRID, Crop, crop_mask, stitch
from inpainting_core.erasing import Erased, check_picture, ring_px
from inpainting_core.exposure import Exposure
from inpainting_core.masks import as_mask, grow
from inpainting_core.shapes import Float


def fill_whole(
    image: Float[Tensor, "1 c h w"], mask: Tensor, fill: Fill, *, grow_px: float = 0, resolution: int | None = None
) -> Erased:
    """What ``fill`` makes of a whole picture; it may differ from the given one everywhere.

    image: in [0, 1], RGB or RGB and alpha, which is handed through.  mask: any of ComfyUI's shapes, 1 where to erase.
    With a ``resolution`` the picture is squeezed to a square of so many pixels, whatever its aspect, and the answer
    back to its size, both bicubic with antialiasing.  Without, it is reflected at the right and below to multiples of
    64 px, and the answer is cut.  ``grow_px`` as in ``erase_holes``.  An empty mask gives the picture back.
    Raises ValueError for a picture or a mask that does not fit.
    """
    check_picture(image)
    crop = whole_picture(image.shape[-2:], resolution)
    hole = as_mask(mask, *image.shape[-2:]).to(image)
    told = {"highest": float(mask.max()), "share": float(hole.mean())}
    if not hole.any():
        return Erased(image, torch.zeros_like(hole), (), image, (), (), 0, **told)
    grown = grow(hole, ring_px(crop, grow_px))
    if bool(grown.all()):
        raise ValueError(
            "mask must leave some of the picture to look at, got one that covers all of it. Invert it, or cover less."
        )
    view, hole = crop_visible(image[:, :3], image[:, 3:], crop), crop_mask(grown, crop)
    exposure = Exposure.of(view, hole)
    filled = exposure.out_of_range(fill(exposure.into_range(view), hole))
    everywhere = torch.ones_like(grown)
    picture = with_alpha_of(image, stitch(image[:, :3], filled, crop, everywhere))
    return Erased(picture, everywhere, (crop,), picture, (1,), (0.0,), 1, **told)


def whole_picture(size: tuple[int, int], resolution: int | None = None) -> Crop:
    """All of a picture of this height and width as one crop: squeezed to a square, or on the grid at its own size.

    Raises ValueError for a resolution that is not on the grid.
    """
    if resolution is not None:
        if resolution < GRID or resolution % GRID:
            raise ValueError(f"resolution must be a multiple of {GRID} px, got {resolution}.")
        return Crop(0, 0, *size, resolution, resolution)
    height, width = (ceil(side / GRID) * GRID for side in size)
    return Crop(0, 0, height, width, height, width)
