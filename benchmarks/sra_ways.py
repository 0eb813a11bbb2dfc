"""Ways for a UNet to attend to itself around a hole that are timed beside each other, and the holes."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from eradiff_core.attention import rectifier
from inpainting_core.masks import to_tokens
from inpainting_core.self_attention import SelfAttention
from inpainting_core.shapes import Bool, Float

SHARES = (0.05, 0.15, 0.30)  # of the picture in the hole
WAYS = ("hard", "strict", "dense")  # beside plain attention
SIGMA = torch.ones(1)


def ways_of(mask: Float[Tensor, "b 1 h w"], chosen: Sequence[str]) -> dict[str, SelfAttention]:
    ways = {"hard": rectifier(mask, "rectified"), "strict": rectifier(mask, "strict"), "dense": dense(mask)}
    return {"off": plainly} | {name: ways[name] for name in chosen}


def square(share: float, side: int, offset: int = 0) -> Float[Tensor, "1 1 {side} {side}"]:
    """A square hole of about this share of a grid, a quarter from its corner at most."""
    mask, long = torch.zeros(1, 1, side, side), round(share**0.5 * side)
    start = min(side // 4 + offset, side - long)
    mask[..., start : start + long, start : start + long] = 1
    return mask


def plainly(q: Tensor, k: Tensor, v: Tensor, height: int, width: int, sigma: Tensor) -> Tensor:
    return scaled_dot_product_attention(q, k, v)


def dense(mask: Float[Tensor, "b 1 h w"]) -> SelfAttention:
    """Eq. 10 by a mask of all pairs, made once for each grid."""

    @lru_cache(16)
    def pairs(height: int, width: int, batch: int, device: torch.device) -> Bool[Tensor, "b 1 n n"]:
        hole = to_tokens(mask, height, width).to(device).repeat(batch // len(mask), 1)
        return ~(hole[:, None, :, None] & hole[:, None, None, :])

    def attention(q: Tensor, k: Tensor, v: Tensor, height: int, width: int, sigma: Tensor) -> Tensor:
        return scaled_dot_product_attention(q, k, v, pairs(height, width, len(q), q.device))

    return attention
