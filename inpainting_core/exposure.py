"""Pictures that go beyond [0, 1], as EXR files and HDR photographs do.

A network knows [0, 1] only.  What it is shown of such a picture is brought into that range by a curve, and its fill
comes back by the inverse, at the level of its surroundings.  A picture within [0, 1] is not touched.
"""

from dataclasses import dataclass
from math import log1p

from torch import Tensor

from inpainting_core.shapes import Float

OUTLIERS = 0.002  # of what is seen: a lamp or a broken pixel must not take the range from all the rest


@dataclass(frozen=True)
class Exposure:
    """The curve from ``[low, high]`` to [0, 1]: log(1 + a x) / log(1 + a h) of x = value - low, with h = high - low.

    Its bend a = h - 1 vanishes with the range's excess over 1.  Then the curve is the identity; of a picture with
    lights of 50 it leaves half of the range to what is below 1.
    """

    low: float
    high: float

    @classmethod
    def of(cls, view: Float[Tensor, "1 3 h w"], hole: Float[Tensor, "1 1 h w"]) -> "Exposure":
        """The exposure of what is seen around a hole, less a few outliers; ``[0, 1]`` where it goes beyond neither."""
        if view.amin() >= 0 and view.amax() <= 1:
            return cls(0.0, 1.0)  # as any other way would say, which sorts the pixels
        known = view[(hole == 0).expand_as(view)].float()
        if not len(known):
            return cls(0.0, 1.0)
        few = max(1, round(OUTLIERS * len(known)))
        low, high = known.kthvalue(few).values, known.kthvalue(len(known) + 1 - few).values
        return cls(min(0.0, float(low)), max(1.0, float(high)))

    def into_range(self, values: Tensor) -> Tensor:
        """From the picture's own values to [0, 1]; what lies beyond the range ends at its border."""
        above = values.clamp(self.low, self.high) - self.low
        if not self._bend:
            return above
        return ((self._bend * above.double()).log1p() / self._most).clamp(0, 1).to(values)

    def out_of_range(self, values: Tensor) -> Tensor:
        """The inverse of ``into_range``."""
        if not self._bend:
            return values + self.low
        return ((values.double() * self._most).expm1() / self._bend + self.low).to(values)

    @property
    def _bend(self) -> float:
        return self.high - self.low - 1

    @property
    def _most(self) -> float:
        """The logarithm that the upper end of the range has."""
        return log1p(self._bend * (self.high - self.low))
