"""What a metric is: its columns, what made it, and how it is found for one picture."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from evaluation.scene import Scene

HIGHER, LOWER = "higher", "lower"


class Absent(Exception):
    """A metric that cannot be found here.  The message says what is missing and the line that gets it."""


@dataclass(frozen=True)
class Column:
    """One number of a table: which way is better, and what it says in a few words."""

    better: str
    says: str


@dataclass(frozen=True)
class Scorer:
    """Numbers of single pictures.  ``measure`` gives one for each column; NaN where a picture has none.

    ``made_by`` is what another run must have to get the same: network, weights' hash, thresholds.  Change ``version``
    with the formula, or results of the old one will be taken from the cache.
    """

    name: str
    columns: dict[str, Column]
    measure: Callable[[Scene], dict[str, float]]
    made_by: dict[str, str | float] = field(default_factory=dict)
    needs_truth: bool = False
    version: int = 1

    @property
    def identity(self) -> str:
        return json.dumps([self.name, self.version, self.made_by], sort_keys=True)


@dataclass(frozen=True)
class Comparison:
    """Numbers of whole sets: features of every result are held against those of the references.

    ``features`` of a scene are one row, float32.  A reference is the truth, or the picture itself where there is none.
    ``distances`` take an iterator over features twice, results first; each may say that a set is not for it by Absent.
    """

    name: str
    columns: dict[str, Column]
    features: Callable[[Scene], np.ndarray]
    distances: dict[str, Callable]
    made_by: dict[str, str | float] = field(default_factory=dict)
    version: int = 1

    @property
    def identity(self) -> str:
        return json.dumps([self.name, self.version, self.made_by], sort_keys=True)
