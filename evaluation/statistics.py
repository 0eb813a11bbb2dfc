"""Means with bootstrap intervals, and paired differences of two methods over the pictures that both have."""

import math
from collections.abc import Iterable

import numpy as np
from scipy.stats import bootstrap

RESAMPLES, LEVEL, SEED = 1000, 0.95, 0


def mean_of(values: Iterable[float]) -> dict[str, float]:
    """Mean, its percentile bootstrap interval (95%, 1,000 resamples, seed 0) and count; NaN is no value."""
    kept = np.array([value for value in values if not math.isnan(value)])
    if not len(kept):
        return {"n": 0}
    low = high = kept.mean()
    if len(kept) > 1 and kept.std() > 0:
        rng = np.random.default_rng(SEED)
        drawn = bootstrap(
            (kept,),
            np.mean,
            n_resamples=RESAMPLES,
            batch=50,
            method="percentile",
            confidence_level=LEVEL,
            rng=rng,
        )
        low, high = drawn.confidence_interval
    return {"mean": float(kept.mean()), "low": float(low), "high": float(high), "n": len(kept)}


def difference(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    """One method less another, picture by picture, over the names that both have; ``wins`` where it is above 0."""
    both = [name for name in one if name in other and not math.isnan(one[name] + other[name])]
    apart = [one[name] - other[name] for name in both]
    return mean_of(apart) | {"above": sum(value > 0 for value in apart), "below": sum(value < 0 for value in apart)}
