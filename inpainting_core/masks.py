"""Masks: any of ComfyUI's shapes in, one convention inside.

Inside, a mask is ``[b, 1, h, w]``, float, 1 where to erase and 0 elsewhere, nothing between.
Distances are true Euclidean ones, found by SciPy on the CPU.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.shapes import Bool, Float, Int

Box = tuple[int, int, int, int]  # top, left, bottom, right in pixels; bottom and right exclusive

# The dtypes that a mask is taken in.
READ = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8}
READ |= {torch.int8, torch.int16, torch.int32, torch.int64}
ROUNDING = 1e-3  # how far beyond [0, 1] a mask may go: a node that resizes one rounds
NEIGHBOURS = np.ones((3, 3))  # pixels that touch by a corner belong together


def as_mask(mask: Tensor, height: int, width: int, frames: int = 1) -> Float[Tensor, "b 1 {height} {width}"]:
    """A mask of any of ComfyUI's shapes for pictures of the given size; several masks of one picture unite.

    Raises as ``as_objects``, which tells them apart.
    """
    return as_objects(mask, height, width, frames).amax(1, keepdim=True)


def as_objects(mask: Tensor, height: int, width: int, frames: int = 1) -> Float[Tensor, "b n {height} {width}"]:
    """The n masks of each picture, of any of ComfyUI's shapes; b is ``frames``, or 1 where all pictures share them.

    ``[h, w]`` is one mask for all pictures. ``[m, h, w]``, ``[m, 1, h, w]`` and ``[1, m, h, w]`` are m masks for a
    single picture, or one mask a picture. ``[b, n, h, w]`` are n masks for each of b pictures.
    Values of at least 1/2 are hole. A mask of another size is resized if its aspect fits. An empty one fits
    every picture, because ComfyUI hands out a small black mask where none was drawn.
    Raises ValueError as ``check_mask``, and for NaN, values outside [0, 1], another aspect, or a number of masks that
    fits no picture.
    """
    check_mask(mask)
    low, high = (float(value) for value in mask.aminmax())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise ValueError(f"mask must hold numbers from 0 to 1, got {low} to {high}. Scale it.")
    hole = _arranged(mask, frames) >= 0.5
    if not hole.any():
        return torch.zeros(*hole.shape[:2], height, width)
    if hole.shape[-2:] == (height, width):
        return hole.float()
    _check_aspect(hole.shape[-2], hole.shape[-1], height, width)
    return (F.interpolate(hole.float(), (height, width), mode="bilinear", antialias=True) >= 0.5).float()


def check_mask(mask: Tensor) -> None:
    """Raise ValueError unless a mask has one of ComfyUI's shapes, pixels, and numbers of a type in ``READ``."""
    if not 2 <= mask.ndim <= 4 or mask.numel() == 0:
        raise ValueError(
            f"mask must have the shape [h, w], [n, h, w] or [b, n, h, w], got {list(mask.shape)}. Connect a MASK."
        )
    if mask.dtype not in READ:
        raise ValueError(
            f"mask must hold numbers from 0 to 1 in a type such as float32, uint8 or bool, got {mask.dtype}. "
            "Convert it."
        )


def peaks(mask: Tensor, frames: int) -> Float[Tensor, "b n"]:
    """The highest value of each mask, arranged as ``as_objects`` arranges them: below 1/2 a mask has no hole.

    Raises ValueError as ``check_mask``, and for a number of masks that fits no picture.
    """
    check_mask(mask)
    return _arranged(mask, frames).amax((-2, -1)).float()


def _arranged(mask: Tensor, frames: int) -> Tensor:
    """Masks by picture and object, ``[b, n, h, w]`` of any dtype, told from the number of pictures."""
    if mask.ndim == 4 and 1 not in mask.shape[:2]:
        if len(mask) == frames:
            return mask
        raise ValueError(
            f"mask must come once or once per picture ({frames}), got {len(mask)} times {mask.shape[1]}. "
            "Give one, or one per picture."
        )
    masks = mask.reshape(-1, *mask.shape[-2:])
    if frames == 1:
        return masks[None]
    if len(masks) not in (1, frames):
        raise ValueError(
            f"mask must come once or once per picture ({frames}), got {len(masks)} masks. Give one, or one per picture."
        )
    return masks[:, None]


def _check_aspect(mask_height: int, mask_width: int, height: int, width: int) -> None:
    """A mask may be smaller or larger than its picture, but not of another shape (up to rounding by a pixel)."""
    rounding = max(height, width, mask_height, mask_width)
    if abs(mask_height * width - mask_width * height) > rounding:
        turned = abs(mask_width * width - mask_height * height) <= rounding
        way_out = "Turn the mask by 90 degrees: it lies on its side." if turned else "Make the mask from this picture."
        raise ValueError(
            f"mask must have the picture's size or aspect ratio: "
            f"the picture is {width} x {height}, got a mask of {mask_width} x {mask_height}. {way_out}"
        )


def distance_to_hole(mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Each pixel's Euclidean distance in pixels to the nearest hole pixel; 0 in the hole, infinite without one."""
    planes = [_distance(plane) for plane in mask[:, 0].cpu().numpy()]
    return torch.from_numpy(np.stack(planes)[:, None]).to(mask)


def _distance(plane: np.ndarray) -> np.ndarray:
    if not plane.any():
        return np.full_like(plane, np.inf, dtype=np.float64)
    return ndimage.distance_transform_edt(plane == 0)


def grow(mask: Float[Tensor, "b 1 h w"], radius_px: float) -> Float[Tensor, "b 1 h w"]:
    """The hole and everything within ``radius_px`` of it."""
    return (distance_to_hole(mask) <= radius_px).to(mask)


def dilate(mask: Float[Tensor, "b 1 h w"], px: int) -> Float[Tensor, "b 1 h w"]:
    """Every pixel with hole within ``px`` rows and columns: a square's reach, row by row and then column by column."""
    tall = F.max_pool2d(mask, (2 * px + 1, 1), stride=1, padding=(px, 0))
    return F.max_pool2d(tall, (1, 2 * px + 1), stride=1, padding=(0, px))


def feather(mask: Float[Tensor, "b 1 h w"], radius_px: float) -> Float[Tensor, "b 1 h w"]:
    """Blending weights: 1 in the hole, falling towards 0 across the ring that ``grow`` adds, exactly 0 beyond it."""
    distance = distance_to_hole(mask)
    return (1 - distance / (radius_px + 1)).where(distance <= radius_px, 0)


def to_grid(mask: Float[Tensor, "b 1 h w"], height: int, width: int) -> Float[Tensor, "b 1 {height} {width}"]:
    """The mask on a coarser grid: a touched cell is hole."""
    return F.adaptive_max_pool2d(mask, (height, width))


def to_nearest(mask: Float[Tensor, "b 1 h w"], height: int, width: int) -> Float[Tensor, "b 1 {height} {width}"]:
    """The mask on another grid: a cell is what the pixel at its centre is, as YOEO's authors have it."""
    return F.interpolate(mask, (height, width), mode="nearest-exact")


def to_tokens(mask: Float[Tensor, "b 1 h w"], height: int, width: int) -> Bool[Tensor, "b n"]:
    """The mask on an attention layer's token grid, row after row, n = height * width: a touched token is hole."""
    return to_grid(mask, height, width).flatten(1) > 0


def to_patches(mask: Float[Tensor, "b 1 h w"], patch: int) -> Bool[Tensor, "b n"]:
    """The mask on tokens of patch x patch cells, row after row, the last ones filled up: a touched token is hole."""
    return F.max_pool2d(mask, patch, ceil_mode=True).flatten(1) > 0


def components(mask: Float[Tensor, "1 1 h w"]) -> Int[Tensor, "h w"]:
    """Number the connected parts of a hole 1, 2, ... from top to bottom; 0 is no hole."""
    labels, _ = ndimage.label(mask[0, 0].cpu().numpy() > 0, NEIGHBOURS)
    return torch.from_numpy(labels)


def box_around(mask: Float[Tensor, "1 1 h w"]) -> Box:
    """The box that just holds the hole; of no hole, the first pixel's."""
    rows = mask[0, 0].amax(1).nonzero()[:, 0].tolist() or [0]
    columns = mask[0, 0, rows[0] : rows[-1] + 1].any(0).nonzero()[:, 0].tolist() or [0]
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


def bounding_boxes(labels: Int[Tensor, "h w"]) -> list[Box]:
    """The box of each numbered part, in the order of the numbers."""
    found = ndimage.find_objects(labels.numpy())
    return [(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in found]
