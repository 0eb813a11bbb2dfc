"""Masks as they come from a hurried hand or a weak segmenter: too small, beside the object, with holes, or a box.

Lengths are shares of the mask's size, the square root of its area.  OSOR (ECCV 2026, arXiv 2606.28094) trains on such
masks, so that what is left of an object beside the mask does not draw it back.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from inpainting_core.shapes import Bool
from training.data.shapes_drawn import closed_outline, coverage

Mask = Bool[np.ndarray, "h w"]
SHRUNK = (0.02, 0.15)  # by how much a mask is too small
SHIFTED = (0.05, 0.2)  # how far it lies beside
PATCHES = (0.1, 0.3)  # radius of a hole in it
MOST_PATCHES = 4


def shrunk(mask: Mask, rng: np.random.Generator) -> Mask:
    """Less of the object all around."""
    return ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] > rng.uniform(*SHRUNK) * size_of(mask)


def shifted(mask: Mask, rng: np.random.Generator) -> Mask:
    """The same outline beside the object; what leaves the picture is lost."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(*SHIFTED) * size_of(mask)
    down, right = (round(length * part) for part in (np.sin(angle), np.cos(angle)))
    return ndimage.shift(mask.astype(np.uint8), (down, right), order=0) > 0


def holed(mask: Mask, rng: np.random.Generator) -> Mask:
    """With one to four patches left out."""
    places, left = np.argwhere(mask), mask.copy()
    for _ in range(rng.integers(1, MOST_PATCHES + 1)):
        middle, radius = places[rng.integers(len(places))], rng.uniform(*PATCHES) * size_of(mask)
        left &= coverage(closed_outline(rng) * radius + middle[::-1], *mask.shape) < 0.5
    return left


def boxed(mask: Mask, rng: np.random.Generator) -> Mask:
    """Each connected part as its box, up to a tenth of its size wider."""
    boxes, (labels, _) = np.zeros_like(mask), ndimage.label(mask)
    more = round(rng.uniform(0, 0.1) * size_of(mask))
    for rows, columns in ndimage.find_objects(labels):
        boxes[max(0, rows.start - more) : rows.stop + more, max(0, columns.start - more) : columns.stop + more] = True
    return boxes


POOR: dict[str, Callable[[Mask, np.random.Generator], Mask]] = {
    "shrunk": shrunk,
    "shifted": shifted,
    "holed": holed,
    "boxed": boxed,
}


def size_of(mask: Mask) -> float:
    return float(mask.sum()) ** 0.5


def poor(mask: Mask, rng: np.random.Generator) -> Mask:
    """The mask, made poor in one of these ways; as it is where nothing of it, or of the picture, would be left."""
    worse = POOR[str(rng.choice(list(POOR)))](mask, rng)
    return worse if worse.any() and not worse.all() else mask
