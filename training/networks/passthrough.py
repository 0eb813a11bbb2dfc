"""A pass-through start for the small autoencoder.

With default weights a small autoencoder spends most of its training finding out that
the picture's own thumbnail is a good code for it.  Here it starts there: three latents
begin as the mean colours of 8 x 8 pixel blocks and the decoder as their smooth
enlargement, so that training only adds detail.
"""

import torch
from diffusers import AutoencoderTiny
from torch import nn

# Latent = SPREAD * (colour - 1/2): about unit variance on photographs, well inside the decoder's soft clamp at 3.
SPREAD = 4.0
SMOOTH = torch.tensor([1.0, 2.0, 1.0]) / 4


@torch.no_grad()
def pass_through_(vae: AutoencoderTiny) -> AutoencoderTiny:
    """Rewrite a fresh autoencoder's weights in place so that it codes a picture as its own thumbnail.

    Colours in [0, 1] are never negative, so the ReLU trunk hands them on untouched.
    """
    encoder, decoder = list(vae.encoder.layers), list(vae.decoder.layers)

    # 1. three channels of the trunk are the colours; each residual branch starts at zero on them
    for module in vae.modules():
        if hasattr(module, "fuse"):
            module.conv[4].weight[:3] = 0
            module.conv[4].bias[:3] = 0
        elif isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            _carry_(module, lambda kernel: kernel[1:, 1:].fill_(0.25))  # the mean of 2 x 2 pixels
        elif isinstance(module, nn.Conv2d) and module.bias is None:
            _carry_(module, lambda kernel: kernel.copy_(torch.outer(SMOOTH, SMOOTH)))  # after nearest enlargement

    # 2. into the trunk and out of it: a convolution that copies the colours, scaled
    _carry_(encoder[0], lambda kernel: kernel[1, 1].fill_(1.0))
    _carry_(encoder[-1], lambda kernel: kernel[1, 1].fill_(SPREAD), shift=-SPREAD / 2)
    first = next(layer for layer in decoder if isinstance(layer, nn.Conv2d))
    _carry_(first, lambda kernel: kernel[1, 1].fill_(1 / SPREAD), shift=0.5)
    _carry_(decoder[-1], lambda kernel: kernel[1, 1].fill_(1.0))
    return vae


def _carry_(conv: nn.Conv2d, fill, shift: float = 0.0) -> None:
    """Let the first three output channels depend on nothing but the same three input channels."""
    conv.weight[:3] = 0
    for channel in range(3):
        fill(conv.weight[channel, channel])
    if conv.bias is not None:
        conv.bias[:3] = shift
