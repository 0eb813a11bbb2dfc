"""An endless stream of a source's pictures, those of a batch in one shape."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from inpainting_core.buckets import Shape, nearest_shape
from training.data.order import Order
from training.data.reading import Unusable
from training.data.reporting import LeftOut, tell
from training.data.shards import Shards, are_shards
from training.data.sources import Files, Folder

Source = Folder | Shards
T = TypeVar("T")
MOST_IN_A_ROW = 100  # bad pictures before a run is ended: then it is the disk, or the whole folder


class Stream:
    """Pictures ``numbers`` of a source by their places; what stands at a place is a pure function of the seed.

    All places of a ``block`` have one of ``shapes``, the nearest to their pictures'.  Pictures that turn out bad are
    listed in ``left_out``.
    """

    def __init__(
        self,
        source: Source,
        numbers: np.ndarray,
        shapes: list[Shape],
        block: int,
        seed: int,
        left_out: Path | None = None,
    ):
        self.source, self.left_out, groups = source, LeftOut(left_out), [numbers]
        if len(shapes) > 1:
            nearest = nearest_shape(source.sizes()[numbers], shapes)
            groups = [numbers[nearest == place] for place in range(len(shapes))]
        self.shapes = [shape for shape, group in zip(shapes, groups, strict=True) if len(group)]
        self.order = Order([group for group in groups if len(group)], block, seed, source.units)

    def shape(self, index: int) -> Shape:
        return self.shapes[self.order.place(index)[0]]

    def read(self, index: int, read: Callable[[Files], T], ahead: int = 0) -> T:
        """What ``read`` makes of the picture at this place, or so many places ahead in its group.

        Where it raises Unusable the next one in the group takes its place.  Raises ValueError for many in a row.
        """
        group, place = self.order.place(index)
        tries = min(MOST_IN_A_ROW, int(self.order.counts[group]))
        for number in (self.order.at(group, place + ahead + further) for further in range(tries)):
            try:
                return read(self.source[number])
            except Unusable as error:
                name, reason = self.source.name(number), error
                self.left_out.add(name, str(error))
        asked = "" if str(reason).startswith("too small") else " Is the disk that holds them still there?"
        raise ValueError(
            f"one of {tries} pictures in a row must be usable, got none; the last is {name}: {reason}.{asked}"
        )


def source_of(images: str | Path, table: str | None = None) -> Source:
    """A folder, without what its table refuses, or shards where it ends in .tar."""
    return Shards(str(images)) if are_shards(images) else Folder(images, table)


def labelled_numbers(source: Source, unlabelled: str) -> np.ndarray:
    """The pictures that YOEO's sets may take; says how many have maps.

    Raises ValueError where pictures without a map are refused and none has one.
    """
    count, mapped = len(source), np.flatnonzero(source.mapped)
    if len(mapped) == count or unlabelled == "drawn":
        tell(f"{len(mapped)} of {count} pictures have entity maps")
        return np.arange(count)
    ways = "training.prepare_entities makes maps; --unlabelled drawn takes pictures without and draws things into them"
    if not len(mapped):
        raise ValueError(f"pictures must have entity maps, got {count} and none has one: {ways}.")
    tell(f"{len(mapped)} of {count} pictures have entity maps, the others are left out: {ways}")
    return mapped
