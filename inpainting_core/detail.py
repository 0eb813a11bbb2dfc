"""Give a copy that was made smaller than its picture the detail of the places that it was copied from.

A hole of a thousand pixels is filled at the model's size and enlarged, and would lie soft in its sharp surroundings.
But where each pixel was copied from is known, and there the picture has what the smaller size could not hold, the
finest band of a Laplacian pyramid (Burt & Adelson 1983).  It is copied too; all coarser stays as it was agreed on.
"""

import torch
from torch import Tensor

from inpainting_core.choosing import Copies
from inpainting_core.crop import Crop, as_seen, at_least_fp32, resize, window
from inpainting_core.masks import Box
from inpainting_core.shapes import Float, Int


def copied_detail(
    picture: Float[Tensor, "1 3 h w"],
    alpha: Float[Tensor, "1 k h w"],
    hole: Float[Tensor, "1 1 wh ww"],
    copies: Copies,
    crop: Crop,
    box: Box,
) -> Float[Tensor, "n 3 rows columns"]:
    """What is to be added at each pixel of ``box`` to the copies when they are enlarged to the crop's size.

    ``hole`` and ``copies`` are of the crop as the model saw it, in the picture's own values; ``alpha`` is straight, k
    is 1, or 0 for none.  Nothing is added where nothing was copied, nor from what is erased or cannot be seen.
    """
    down, right = torch.arange(box[0], box[2]) - crop.top, torch.arange(box[1], box[3]) - crop.left
    i, j = _cells(down, crop.work_height, crop.scale)[:, None], _cells(right, crop.work_width, crop.scale)
    finest = _finest(at_least_fp32(window(picture, crop)), window(alpha, crop), hole, copies.pictures[:1], crop)
    details = []
    for source in copies.sources[..., i, j].cpu():
        # what lies beside the source as this pixel does beside the middle of its cell
        y = (down[:, None] + ((source[0] - i) / crop.scale).round().long()).clamp(0, crop.height - 1)
        x = (right + ((source[1] - j) / crop.scale).round().long()).clamp(0, crop.width - 1)
        details.append(finest[0][:, y, x] * (source[:1] >= 0).to(finest))
    return torch.stack(details)


def _finest(
    pixels: Float[Tensor, "1 3 y x"],
    alpha: Float[Tensor, "1 k y x"],
    hole: Float[Tensor, "1 1 wh ww"],
    filled: Float[Tensor, "1 3 wh ww"],
    crop: Crop,
) -> Float[Tensor, "1 3 y x"]:
    """What the model did not see of the crop, for its size; about nothing where it is erased or hidden."""
    down = _cells(torch.arange(crop.height), crop.work_height, crop.scale)
    right = _cells(torch.arange(crop.width), crop.work_width, crop.scale)
    known = (hole[..., down[:, None], right] == 0) & (alpha > 0).all(1, keepdim=True)
    shown = torch.where(known, pixels, resize(filled, crop.height, crop.width).to(pixels))
    return shown - resize(as_seen(shown, crop), crop.height, crop.width)


def _cells(pixels: Int[Tensor, "n"], cells: int, scale: float) -> Int[Tensor, "n"]:
    """The row or column of the model's pixel that each row or column of the crop lies in."""
    return ((pixels + 0.5) * scale).floor().long().clamp(0, cells - 1)
