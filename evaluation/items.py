"""One case of a published set, or why it cannot serve."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Item:
    """One case of a set.  A mask is a file, or a function that gives it as bool ``[h, w]``; ``box`` is left, top,
    right, bottom as shares of the picture, where the set has an annotated one.

    Its files are there until the next item is asked for.
    """

    name: str
    picture: Path
    mask: Path | Callable[[], np.ndarray]
    truth: Path | None = None
    effect: Path | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Refusal:
    name: str
    reason: str


Items = Iterator[Item | Refusal]
