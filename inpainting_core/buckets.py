"""Shapes of one area for pictures of every proportion, so that a batch is of one size and little is cut off."""

import numpy as np

STEP = {True: 64, False: 32}  # px: what a large UNet's levels divide by, and a small one's; by whether it is large
LARGE = 512

Shape = tuple[int, int]  # height, width


def shapes_of_area(resolution: int) -> list[Shape]:
    """The square of this side and the shapes of nearly its area, sides up to 2 and down to 1/2 of it.

    At 512 they are YOEO's 17.  A side that is no multiple of the step (64 px, below 512 px 32) has its square alone.
    """
    step = STEP[resolution >= LARGE]
    if resolution % step:
        return [(resolution, resolution)]
    longer = range(resolution, min(2 * resolution, resolution**2 // step) + 1, step)  # no side under a step
    wide = [(resolution**2 // (side * step) * step, side) for side in longer]
    return wide + [(width, height) for height, width in wide[1:]]


def nearest_shape(sizes: np.ndarray, shapes: list[Shape]) -> np.ndarray:
    """For each picture (width, height) of ``[n, 2]`` the place of the shape of the nearest height / width, ``[n]``."""
    proportions = np.array([height / width for height, width in shapes])
    order = np.argsort(proportions)
    between = (proportions[order][1:] + proportions[order][:-1]) / 2
    return order[np.searchsorted(between, sizes[:, 1] / sizes[:, 0])]
