"""From pictures and holes to what the UNet trains on: latent, masked picture's latent and mask on the latent grid."""

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from inpainting_core.architecture import ModelConfig
from inpainting_core.engine import without_fp16
from inpainting_core.latents import masked_picture, scale_latent, unscale_latent
from inpainting_core.shapes import Float

if TYPE_CHECKING:
    from accelerate import Accelerator
    from diffusers import AutoencoderKL, AutoencoderTiny

# "latent", "masked" and a pair's "object" [b, 4, h/8, w/8], "mask" [b, 1, h/8, w/8], stage 3's "hole" [b, 1, h, w]
Encoded = dict[str, Tensor]


class Encoder:
    """A model's frozen autoencoder behind two calls, in unit-variance latents; pictures are RGB in [0, 1]."""

    def __init__(self, vae: "AutoencoderKL | AutoencoderTiny", config: ModelConfig, device: torch.device):
        self.vae = vae.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        self.shape, self.under_hole, self.device = config.vae, config.under_hole, device

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 4 h8 w8"]:
        """The mean latent: a sample drawn from the KL encoder's narrow posterior would add noise we do not need."""
        with without_fp16(self.shape, self.device):
            encoded = self.vae.encode(image.to(self.device) * 2 - 1)
        raw = encoded.latents if self.shape.kind == "tiny" else encoded.latent_dist.mode()
        return scale_latent(raw.float(), self.shape.scale)

    def facts(self) -> dict[str, str | float]:
        """What an encoded sample depends on.

        Weights count as fp16: a file may keep them so, and the next stage reads what the last one wrote.
        """
        weights = sha256()
        for key, value in sorted(self.vae.state_dict().items()):
            weights.update(key.encode() + value.detach().cpu().half().numpy().tobytes())
        return {"autoencoder": weights.hexdigest()[:16], "scale": self.shape.scale, "under_hole": self.under_hole}

    def decode(self, latent: Float[Tensor, "b 4 h8 w8"]) -> Float[Tensor, "b 3 h w"]:
        with without_fp16(self.shape, self.device):
            decoded = self.vae.decode(unscale_latent(latent.float(), self.shape.scale)).sample
        return decoded.float().clamp(-1, 1) / 2 + 0.5

    @torch.no_grad()
    def __call__(
        self,
        image: Float[Tensor, "b 3 h w"],
        mask: Float[Tensor, "b 1 h w"],
        shown: Float[Tensor, "b 3 h w"] | None = None,
        around: Float[Tensor, "b 3 h w"] | None = None,
    ) -> Encoded:
        """Pictures and their holes, which hold a copy where a network is ``shown`` one.

        ``around`` are the pictures that are seen around the holes where those are not the truth, which has no shadow.
        """
        image, mask = image.to(self.device), mask.to(self.device)
        shown = None if shown is None else shown.to(self.device)
        seen = image if around is None else around.to(self.device)
        both = self.encode(torch.cat([image, masked_picture(seen, mask, self.under_hole, shown)]))
        latent, masked = both.chunk(2)
        return {"latent": latent, "masked": masked, "mask": max_pool2d(mask, image.shape[-1] // latent.shape[-1])}

    def with_hole(
        self,
        image: Float[Tensor, "b 3 h w"],
        mask: Float[Tensor, "b 1 h w"],
        shown: Float[Tensor, "b 3 h w"] | None = None,
        around: Float[Tensor, "b 3 h w"] | None = None,
    ) -> Encoded:
        """And the hole at the picture's size, which a detector looks at."""
        return self(image, mask, shown, around) | {"hole": mask.to(self.device)}

    @torch.no_grad()
    def pair(
        self,
        original: Float[Tensor, "b 3 h w"],
        with_object: Float[Tensor, "b 3 h w"],
        mask: Float[Tensor, "b 1 h w"],
        shown: Float[Tensor, "b 3 h w"] | None = None,
    ) -> Encoded:
        """A picture with and without an object.

        Where the two pictures are alike the object's latent is the original's, for an autoencoder's norms and attention
        reach everywhere: outside the hole, unless something of the object, or its shadow, is there.
        """
        encoded = self(original, mask, shown, with_object)
        latent = self.encode(with_object)
        changed = (original != with_object).any(1, keepdim=True).to(latent)
        cells = max_pool2d(torch.maximum(mask.to(latent), changed), original.shape[-1] // latent.shape[-1])
        return encoded | {"object": torch.where(cells > 0, latent, encoded["latent"])}


def encoded_by(
    encode: Callable[..., Encoded], accelerator: "Accelerator", *keys: str
) -> Callable[[dict[str, Tensor]], Encoded]:
    """What an ``Encoder`` makes of these parts of a batch, and of what its network is ``shown`` and sees ``around``.

    In the precision that the run works in.
    """

    def encoded(batch: dict[str, Tensor]) -> Encoded:
        with accelerator.autocast():
            seen = {key: batch[key] for key in ("shown", "around") if key in batch}
            return encode(*(batch[key] for key in keys), **seen)

    return encoded
