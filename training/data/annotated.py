"""What annotations say of a picture that is read upright: they are drawn on its stored pixels, and turn with it."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from inpainting_core.pictures.reading import SIDEWAYS, TURNS
from training.data.annotations import Annotations, Instance
from training.data.reading import Unusable, Upright


def instances_in(annotations: Annotations, path: Path, read: Upright) -> Iterator[Instance]:
    """The instances of a picture, their masks at its size and upright as it is.

    Annotations that have the upright picture's shape alone were drawn on that.  Raises Unusable where there are none,
    or they are of another shape.
    """
    if path.stem not in annotations:
        raise Unusable("no annotation: the file does not name it")
    instances, (width, height) = annotations[path.stem], read.picture.size
    sideways = read.orientation in SIDEWAYS
    found = instances(width, height) if sideways else instances(height, width)
    try:
        first = next(found, None)
    except Unusable:
        if not sideways:
            raise
        yield from instances(height, width)
        return
    for each in chain([] if first is None else [first], found):
        yield replace(each, mask=upright_mask(each.mask, read.orientation))


def upright_mask(mask: np.ndarray, orientation: int) -> np.ndarray:
    """A mask ``[h, w]`` of the stored pixels, turned as their picture is."""
    return np.ascontiguousarray(TURNS[orientation](mask)) if orientation in TURNS else mask
