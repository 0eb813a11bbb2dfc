"""What lies around an object, seen from it: how far away, and at which stretch of its outline.

Lengths are shares of an object's size, the square root of its area; brightness is the logarithm of the luminance.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from inpainting_core.shapes import Bool, Float, Int

SECTORS = 48  # stretches of the outline
RING = 0.03  # width of a ring, at least 2 px
REACH = 0.6  # how far out is looked
LUMINANCE = (0.299, 0.587, 0.114)  # of R, G, B (ITU-R BT.601)
DARK = 0.02  # added to the luminance, so that noise in the dark is no rise


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A window of a picture, RGB in [0, 1], around one part of a mask; ``hidden`` is under any mask, and no ground."""

    picture: Float[np.ndarray, "h w 3"]
    part: Bool[np.ndarray, "h w"]
    hidden: Bool[np.ndarray, "h w"]
    distance: Float[np.ndarray, "h w"]
    sector: Int[np.ndarray, "h w"]

    @classmethod
    def of(
        cls, picture: Float[np.ndarray, "h w 3"], part: Bool[np.ndarray, "h w"], hidden: Bool[np.ndarray, "h w"]
    ) -> "Surroundings":
        distance, nearest = ndimage.distance_transform_edt(~part, return_indices=True)
        return cls(picture, part, hidden, distance, sectors_of(part, nearest))

    @cached_property
    def size(self) -> float:
        return float(self.part.sum()) ** 0.5

    @cached_property
    def width(self) -> float:
        """Of a ring, in pixels."""
        return max(2.0, RING * self.size)

    @cached_property
    def rings(self) -> int:
        return int(REACH * self.size / self.width)

    @cached_property
    def ground(self) -> Bool[np.ndarray, "h w"]:
        """What is looked at: within reach, and under no mask."""
        return (self.distance > 0) & (np.ceil(self.distance / self.width) <= self.rings) & ~self.hidden

    @cached_property
    def brightness(self) -> Float[np.ndarray, "h w"]:
        return np.log(self.picture @ LUMINANCE + DARK)

    @cached_property
    def chromaticity(self) -> Float[np.ndarray, "h w 3"]:
        return self.picture / (self.picture.sum(-1, keepdims=True) + DARK)


def around(place: tuple[slice, slice], px: int) -> tuple[slice, slice]:
    """So many pixels more on each side, within the picture."""
    rows, columns = (slice(max(0, side.start - px), side.stop + px) for side in place)
    return rows, columns


def sectors_of(part: Bool[np.ndarray, "h w"], nearest: Int[np.ndarray, "2 h w"]) -> Int[np.ndarray, "h w"]:
    """The stretch of the outline that each pixel lies at: by the angle of its nearest point about the middle."""
    y, x = (axis - places.mean() for axis, places in zip(nearest, part.nonzero(), strict=True))
    turn = (np.arctan2(y, x) + np.pi) / (2 * np.pi)
    return np.minimum((turn * SECTORS).astype(int), SECTORS - 1)
