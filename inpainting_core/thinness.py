"""Which parts of a hole are long and thin: a wire by itself, or the string of a kite.

Looked at on a grid of at most so many cells a side, which is enough to tell a wire from an object.
"""

from math import ceil

import numpy as np
from scipy import ndimage

from inpainting_core.masks import NEIGHBOURS
from inpainting_core.shapes import Bool

THIN = 8  # times as long as it is thick: only such a part still has its surroundings in view when it is cut
CORE = 0.25  # of the largest radius: what is thinner is no part of an object's body
LOOKED_AT = 1024  # cells of the longer side


def is_thin(pixels: Bool[np.ndarray, "rows columns"]) -> bool:
    """Whether a shape is many times as long as it is thick at its thickest."""
    coarse, step = _coarse(pixels)
    thickness = 2 * step * float(ndimage.distance_transform_edt(coarse).max())
    return THIN * thickness <= max(pixels.shape)


def thin_arms(pixels: Bool[np.ndarray, "rows columns"]) -> list[Bool[np.ndarray, "rows columns"]]:
    """The long thin pieces that hang on a shape's body, each as a plane of the shape's size; none of a thin shape.

    The body is what a disc of a quarter of the largest radius fits into (an opening); of the rest, what is long and
    thin counts.
    """
    coarse, step = _coarse(pixels)
    inside = ndimage.distance_transform_edt(coarse)
    radius = CORE * float(inside.max())
    body = ndimage.distance_transform_edt(inside <= radius) <= radius
    labels, _ = ndimage.label(coarse & ~body, NEIGHBOURS)
    arms = []
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        own = labels[place] == number
        long = max(own.shape) * step
        if is_thin(own) and long >= inside.max() * step:
            plane = np.zeros_like(coarse)
            plane[place] = own
            fine = plane[1:-1, 1:-1].repeat(step, 0).repeat(step, 1)[: pixels.shape[0], : pixels.shape[1]]
            arms.append(pixels & fine)
    return [arm for arm in arms if arm.any()]


def _coarse(pixels: Bool[np.ndarray, "rows columns"]) -> tuple[Bool[np.ndarray, "y x"], int]:
    """The shape on a grid, a touched cell being part of it, with a cell of nothing around; pixels a cell."""
    step = ceil(max(pixels.shape) / LOOKED_AT)
    rows, columns = (np.arange(0, length, step) for length in pixels.shape)
    touched = np.logical_or.reduceat(np.logical_or.reduceat(pixels, rows, 0), columns, 1)
    return np.pad(touched, 1), step
