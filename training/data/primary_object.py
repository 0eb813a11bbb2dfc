"""Which of a picture's objects is the primary one: what EraDiff cuts out and pastes again (section 4.1).

The paper leaves the choice to its matting model.  Ours: of the things that are sure enough, neither specks nor most of
the picture, and not cut off by its border for the most part, the one of the greatest score x sqrt(area).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from training.data.annotations import Instance
from training.data.reading import Unusable


@dataclass(frozen=True)
class Limits:
    """What may be a primary object: score in [0, 1], areas as shares of the picture, border as share of its outline."""

    least_score: float = 0.5
    least_area: float = 0.005
    most_area: float = 0.6
    most_border: float = 0.15


def primary_object(instances: Iterable[Instance], limits: Limits) -> Instance:
    """The thing of the greatest score x sqrt(area) within the limits; only one mask is kept while looking.

    Raises Unusable where there is none.
    """
    seen, best = 0, None
    for instance in instances:
        seen += 1
        if within(instance, limits) and (best is None or prominence(instance) > prominence(best)):
            best = instance
    if best is None:
        raise Unusable(
            f"no usable object: {seen} found, but no single thing of score >= {limits.least_score:g} that covers "
            f"{limits.least_area:.1%} to {limits.most_area:.0%} of the picture and at most {limits.most_border:.0%} "
            "of its border"
        )
    return best


def within(instance: Instance, limits: Limits) -> bool:
    return (
        instance.thing
        and not instance.crowd
        and instance.score >= limits.least_score
        and limits.least_area <= instance.mask.mean() <= limits.most_area
        and border_share(instance.mask) <= limits.most_border
    )


def prominence(instance: Instance) -> float:
    return instance.score * sqrt(instance.mask.mean())


def border_share(mask: np.ndarray) -> float:
    """How much of the picture's outermost pixels a mask ``[h, w]`` covers: 1/4 for a strip along a square's side."""
    return float(np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]]).mean())
