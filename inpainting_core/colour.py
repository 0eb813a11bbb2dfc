"""Match a fill's colours to the picture around it.

Autoencoders and networks shift colours, and a small one misses them by more.  Just outside the hole the truth is
known: what the fill shows there is compared with it, and the difference taken out of the fill, spread smoothly over
the hole, as a membrane would hang between its edges (Pérez et al. 2003, Poisson image editing).  So no step is left
along the hole's edge, while what the fill has of texture stays.
"""

from torch import Tensor
from torch.nn import functional as F

from inpainting_core.membrane import spread
from inpainting_core.shapes import Float

BAND_PX = 8  # at the model's resolution, a latent cell: how far from the hole fill and picture are compared


def match_colour(
    filled: Float[Tensor, "b 3 h w"], view: Float[Tensor, "#b 3 h w"], hole: Float[Tensor, "#b 1 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """The fill with the difference that it shows on a band of known pixels around the hole taken out of all of it.

    Pictures are RGB in [0, 1]; hole is 1 where erased.
    """
    near = F.max_pool2d(hole, 2 * BAND_PX + 1, stride=1, padding=BAND_PX)
    return (filled + spread(view - filled, near * (1 - hole))).clamp(0, 1)
