"""What pictures were encoded to: another seed, or another try of the same crop, has nothing encoded again.

A latent that ComfyUI put together out of tiles, for want of memory, is not kept: once there is memory again, the same
seed gives what it always gave.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from weakref import WeakKeyDictionary

import torch
from comfy.sd import VAE
from torch import Tensor

from inpainting_core.shapes import Float

KEPT = 32  # latents of one autoencoder, of 0.1 MB each at 512 px: those of a picture with a dozen objects

# A picture's latent, and whether it was encoded as a whole.
Encode = Callable[[Float[Tensor, "1 3 h w"]], tuple[Float[Tensor, "1 4 y x"], bool]]


class Latents:
    """The latents of the pictures that one autoencoder saw last, found by the pictures' numbers."""

    def __init__(self) -> None:
        self.kept: OrderedDict[tuple, Tensor] = OrderedDict()

    def of(self, picture: Float[Tensor, "1 3 h w"], encode: Encode, *state: object) -> Float[Tensor, "1 4 y x"]:
        """A picture's latent, encoded unless it is known; ``state`` is what else it depends on."""
        key = (tuple(picture.shape), picture.dtype, digest(picture), *state)
        if key not in self.kept:
            latent, whole = encode(picture)
            if not whole:
                return latent
            self.kept[key] = latent
        self.kept.move_to_end(key)
        while len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return self.kept[key].clone()


def encoded(vae: VAE, picture: Float[Tensor, "1 3 h w"]) -> tuple[Float[Tensor, "1 4 y x"], bool]:
    """A picture's latent, and whether ComfyUI encoded it as a whole and not in tiles."""
    watched, tiled = copy.copy(vae), []  # a copy shares the network; what is changed on it is gone with it

    def in_tiles(*given: object, **named: object) -> Tensor:
        tiled.append(True)
        return vae.encode_tiled_(*given, **named)

    watched.encode_tiled_ = in_tiles
    # as an IMAGE lies in memory, channels last: so ComfyUI's own nodes hand it over, and convolutions are faster
    return watched.encode(picture.movedim(1, -1).contiguous()), not tiled


def digest(picture: Tensor) -> bytes:
    """What two pictures of one shape and dtype share only if all their numbers are the same."""
    return blake2b(picture.detach().cpu().contiguous().view(torch.uint8).numpy(), digest_size=32).digest()


# Of every autoencoder that is still loaded, for as long as it is.
LATENTS: WeakKeyDictionary[VAE, Latents] = WeakKeyDictionary()


def latents_of(vae: VAE) -> Latents:
    return LATENTS.setdefault(vae, Latents())
