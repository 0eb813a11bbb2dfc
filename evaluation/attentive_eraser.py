"""AttentiveEraser's published procedure (AAAI 2025, arXiv 2412.12974), restated on our UNets to be compared with.

Restated, from the paper and the settings that its authors released: 50 steps of DDIM, of which strength 0.8 leaves 40;
every step in two branches, one plain and one whose self-attention is edited from the decoder on, taken together as
``plain + 9 (edited - plain)``; edited means that no token looks at the hole, and that in the first 9 steps the logits
of the hole's tokens are scaled by 0.3; after each step all but the hole is the original again, noised.

Other than theirs: the UNet is an inpainting one, which is shown the mask and the masked picture; timesteps are spaced
trailing; no FreeU and no DDIM inversion; crops, the grown mask and the seam are those of our methods.  So this compares
what is done in the network, and says nothing about their released program on their model.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from inpainting_core.engine import DiffusersEngine
from inpainting_core.masks import to_tokens
from inpainting_core.protocol import Inputs
from inpainting_core.shapes import Bool, Float

STEPS, STRENGTH = 50, 0.8
GUIDANCE = 9.0
SUPPRESSED_STEPS, SUPPRESSION = 9, 0.3


class AttentiveEraser(DiffusersEngine):
    """An engine that walks any DDIM path in AttentiveEraser's way: ``eradiff.erase`` with it is that method."""

    def sample(
        self, sampler: Callable, sigmas: Float[Tensor, "n"], noise: Float[Tensor, "b 4 h w"], inputs: Inputs
    ) -> Float[Tensor, "b 4 h w"]:
        """Ignores ``sampler`` and the attention of ``inputs``: both are the method's own."""
        names = [name for name, _ in self.unet.named_modules() if name.endswith("attn1")]
        decoder = sum(name.startswith("up_blocks") for name in names)
        suppressed_above = float(sigmas[min(SUPPRESSED_STEPS, len(sigmas) - 1)])
        attention = RedirectedAttention(inputs.mask, len(names), len(names) - decoder, suppressed_above)
        own = two_branches(inputs.start.to(self.device), inputs.mask.to(self.device), noise.to(self.device))
        return super().sample(own, sigmas, noise, replace(inputs, attention=attention))


class RedirectedAttention:
    """Plain attention for the first half of a batch, and from the decoder on the edited one for the second half.

    ``layers`` are the UNet's, called in order, of which ``first`` is the decoder's first; at noise levels above
    ``suppressed_above`` similarity is suppressed.
    """

    def __init__(self, mask: Float[Tensor, "#b 1 h w"], layers: int, first: int, suppressed_above: float):
        self.mask, self.layers, self.first, self.suppressed_above = mask, layers, first, suppressed_above
        self.calls = 0

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int, sigma: Tensor) -> Tensor:
        layer = self.calls % self.layers
        self.calls += 1
        if layer < self.first:
            return scaled_dot_product_attention(q, k, v)
        hole = to_tokens(self.mask[:1], height, width)[0].to(q.device)
        scale = SUPPRESSION if float(sigma[0]) > self.suppressed_above else 1.0
        (q_plain, q_edited), (k_plain, k_edited), (v_plain, v_edited) = (part.chunk(2) for part in (q, k, v))
        plain = scaled_dot_product_attention(q_plain, k_plain, v_plain)
        return torch.cat([plain, redirected(q_edited, k_edited, v_edited, hole, scale)])


def redirected(
    q: Float[Tensor, "b heads n d"],
    k: Float[Tensor, "b heads n d"],
    v: Float[Tensor, "b heads n d"],
    hole: Bool[Tensor, "n"],
    scale: float,
) -> Float[Tensor, "b heads n d"]:
    """Dense attention of which no token looks at the hole, the logits of the hole's tokens scaled.

    Where every token is hole, all of them look at all alike.
    """
    logits = q.float() @ k.float().mT / q.shape[-1] ** 0.5
    logits = torch.where(hole[:, None], logits * scale, logits)
    return (logits.masked_fill(hole, torch.finfo(logits.dtype).min).softmax(-1) @ v.float()).to(v.dtype)


def two_branches(
    start: Float[Tensor, "#b 4 h w"], mask: Float[Tensor, "#b 1 h w"], noise: Float[Tensor, "b 4 h w"]
) -> Callable[..., Tensor]:
    """A sampler of two branches a step in k-diffusion's calling form; ``noise`` is what the original is noised with."""

    def sampler(model: Callable, x: Tensor, sigmas: Tensor, extra_args: dict | None = None, **_) -> Tensor:
        for sigma, sigma_next in zip(sigmas[:-1], sigmas[1:], strict=True):
            both = model(torch.cat([x, x]), sigma.expand(2 * len(x)), **(extra_args or {}))
            plain, edited = both.chunk(2)
            denoised = plain + GUIDANCE * (edited - plain)  # as of noise estimates: both are of the same x
            x = denoised + (x - denoised) * (sigma_next / sigma)
            x = torch.where(mask > 0, x, start + sigma_next * noise)
        return x

    return sampler
