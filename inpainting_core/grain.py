"""Give a fill the grain of the picture around it.

Photographs have noise, and autoencoders and networks leave it out: a fill that is too clean shows as a smooth patch
on an even background.  How strong the grain is is measured on the known pixels around the hole, and what the fill
lacks of it is added.
"""

from torch import Tensor
from torch.nn import functional as F

from inpainting_core.masks import dilate
from inpainting_core.shapes import Float

NEAR_PX = 24  # at the model's resolution: how far from the hole the grain is measured
MEDIAN_OF_NORMAL = 0.6745  # of the absolute value, for a standard deviation of 1

# What is left of white noise of standard deviation 1 has the same, and edges and ramps leave nothing (Immerkaer 1996,
# Fast noise variance estimation).
MASK = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
NORM = 6.0


def match_grain(
    filled: Float[Tensor, "n 3 h w"],
    view: Float[Tensor, "1 3 h w"],
    hole: Float[Tensor, "1 1 h w"],
    noise: Float[Tensor, "n 3 h w"],
) -> Float[Tensor, "n 3 h w"]:
    """The fills with as much of ``noise`` (standard normal) in the hole as their grain is weaker than the picture's.

    Pictures are RGB in [0, 1]; hole is 1 where erased.  A fill that has the picture's grain, or more, stays as it is.
    """
    near = dilate(hole, NEAR_PX) - dilate(hole, 1)
    inside = 1 - dilate(1 - hole, 1)  # a pixel off the edge on both sides, where the mask would see it
    lacking = (grain_of(view, near).square() - grain_of(filled, inside).square()).clamp(min=0).sqrt()
    return (filled + lacking * noise.to(filled) * hole).clamp(0, 1)


def grain_of(picture: Float[Tensor, "b 3 h w"], where: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "b 3 1 1"]:
    """The grain's standard deviation for each channel; by the median, so that texture counts for less than noise.

    0 where there is nothing to measure it on.
    """
    kernel = picture.new_tensor(MASK)[None, None] / NORM
    padded = F.pad(picture.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="reflect")
    left = F.conv2d(padded, kernel).view_as(picture).abs()[..., where[0, 0] > 0]
    if left.shape[-1] == 0:
        return picture.new_zeros(*picture.shape[:2], 1, 1)
    return (left.median(-1).values / MEDIAN_OF_NORMAL)[..., None, None]
