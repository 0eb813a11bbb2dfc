"""What an inpainting UNet is fed: the noisy latent, the mask and the masked picture's latent, nine channels."""

import torch
from torch import Tensor

from inpainting_core.exemplar import complete
from inpainting_core.membrane import spread
from inpainting_core.shapes import Float

# What a UNet was taught to see there: Stable Diffusion's, the nano's, and what a network needs that is to copy.
UNDER_HOLE = ("grey", "continued", "copied")


def masked_picture(
    image: Float[Tensor, "b 3 h w"],
    mask: Float[Tensor, "#b 1 h w"],
    under_hole: str = "grey",
    copies: Float[Tensor, "m 3 h w"] | None = None,
) -> Float[Tensor, "n 3 h w"]:
    """The picture without what is in the hole.  RGB in [0, 1].

    There is mid-grey instead, the 0 of the autoencoder's [-1, 1], or its surroundings, ``continued`` smoothly or
    ``copied``: the ``copies`` that are given, else some made here (``complete``), the same every time, whatever the
    picture is in a batch with.
    """
    if under_hole == "copied" and copies is not None:
        return copies
    if under_hole == "copied":
        holes = mask.expand(len(image), -1, -1, -1).split(1)
        pairs = zip(image.split(1), holes, strict=True)
        return torch.cat([complete(view, hole, torch.Generator().manual_seed(0)) for view, hole in pairs])
    filled = spread(image, 1 - mask) if under_hole == "continued" else 0.5
    return image * (1 - mask) + filled * mask


def unet_input(
    noisy: Float[Tensor, "b 4 h w"], mask: Float[Tensor, "#b 1 h w"], masked: Float[Tensor, "#b 4 h w"]
) -> Float[Tensor, "b 9 h w"]:
    """Noisy latent (4), mask (1, one where to erase), masked picture's latent (4): the order of SD-Inpaint."""
    shape = (noisy.shape[0], -1, -1, -1)
    return torch.cat([noisy, mask.to(noisy).expand(shape), masked.to(noisy).expand(shape)], dim=1)


def scale_latent(raw: Float[Tensor, "b 4 h w"], scale: float) -> Float[Tensor, "b 4 h w"]:
    """From the autoencoder's own units (ComfyUI's LATENT) to the unit variance that a UNet works in."""
    return raw * scale


def unscale_latent(latent: Float[Tensor, "b 4 h w"], scale: float) -> Float[Tensor, "b 4 h w"]:
    """Back to the autoencoder's own units; the inverse of ``scale_latent``."""
    return latent / scale
