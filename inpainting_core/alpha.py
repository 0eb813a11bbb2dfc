"""Pictures with alpha: what lies hidden under transparent pixels is never looked at.

The colour of a transparent pixel is whatever the last program left there, black as a rule.  A network that is shown
it paints from it.  So the visible colours are continued into it, and the alpha itself is handed through as it came.
"""

import torch
from torch import Tensor

from inpainting_core.crop import Crop, as_seen, window
from inpainting_core.membrane import spread
from inpainting_core.shapes import Float


def crop_visible(
    colour: Float[Tensor, "b 3 h w"], alpha: Float[Tensor, "b k h w"], crop: Crop
) -> Float[Tensor, "b 3 wh ww"]:
    """``crop_picture`` of the colours that can be seen.  Alpha is straight, in [0, 1]; k is 1, or 0 for none."""
    colour, alpha = window(colour, crop), window(alpha, crop)
    if bool((alpha > 0).all()):
        return as_seen(colour, crop)
    # hidden pixels weigh nothing where others are, and where there are no others the visible ones are continued
    seen = (alpha > 0).to(colour)
    total, share = as_seen(colour * seen, crop), as_seen(seen, crop)
    return spread(total / share.clamp_min(0.5), (share > 0.5).to(colour))


def visible(image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
    """The colours that can be seen of whole pictures, RGB or RGB and alpha."""
    height, width = image.shape[-2:]
    return crop_visible(image[:, :3], image[:, 3:], Crop(0, 0, height, width, height, width))


def with_alpha_of(image: Float[Tensor, "b c h w"], picture: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "m c h w"]:
    """Pictures, as many for each given one as there are, with the given ones' alpha, if they have any."""
    alpha = image[:, 3:].repeat_interleave(len(picture) // len(image), 0)
    return torch.cat([picture, alpha], 1) if image.shape[1] == 4 else picture
