"""Self-Rectifying Attention (EraDiff, sec. 4.2, eq. 10 and 11).

Hole tokens must not lean on one another: early in the path they hold only noise and artefacts, and a hole that
looks at itself grows a new object.  The paper writes the rule as a mask m' on the logits; blocked pairs are the
ones where both tokens are hole.  Instead of building that n x n mask we leave the blocked keys out, which is the
same sum, keeps every fast attention kernel, and costs less than plain attention.  On the smallest grids it is picking
tokens out that costs, and the mask next to nothing: there it is built, once for each grid.

Soft attention blocks them in part: a pair's share is weighed by a factor between 0 (blocked) and 1 (plain).  Its
logarithm is added to the logits by a few more numbers on queries and keys, so that no mask is built for that either.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from inpainting_core.masks import to_tokens
from inpainting_core.self_attention import SelfAttention
from inpainting_core.shapes import Bool, Float, Int

MODES = ("rectified", "strict", "off")
FEW = 256  # tokens, up to which a mask of all pairs costs less than picking out: 1.0 to 1.06 of plain, not 1.2 to 1.4
GRIDS = 16  # of tokens, of which a rectifier keeps the hole: a UNet has four, in batches of a few sizes

# Numbers more on each token, for fast kernels take multiples of 8.  The logarithm is shared out among them all: one
# large number would cost the others their precision where a kernel rounds a token's numbers together.
MORE = 8
BLOCKED = -100.0  # the logarithm of a weight of 0: finite, for 0 times infinity is no number


@dataclass(frozen=True)
class Tokens:
    """Where the background and the hole lie on a token grid, and how to put them back in order."""

    background: Int[Tensor, "nb"]
    hole: Int[Tensor, "nh"]
    order: Int[Tensor, "n"]

    @classmethod
    def split(cls, hole: Bool[Tensor, "n"]) -> "Tokens":
        background, inside = (~hole).nonzero()[:, 0], hole.nonzero()[:, 0]
        return cls(background, inside, torch.cat([background, inside]).argsort())


@dataclass(frozen=True)
class Softness:
    """How much of a blocked pair is let through: 0 is the paper's attention, 1 is plain attention.

    It is the same along the whole path, or, ``rising``, ``least`` at full noise and 1 at the clean picture: the weight
    grows as abar does, since what a hole sees of itself is the less noise the further the path is walked.
    Raises ValueError for a number outside [0, 1].
    """

    least: float = 0.0
    rising: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise ValueError(f"softness must lie in 0..1, got {self.least}.")

    def at(self, sigma: Float[Tensor, "b"]) -> float | Float[Tensor, "b 1"]:
        """The weight for samples at these noise levels; ``sigma**2`` is ``(1 - abar) / abar``."""
        if not self.rising:
            return self.least
        return self.least + (1 - self.least) / (1 + sigma.float().square())[:, None]


HARD = Softness()


def check_mode(mode: str) -> None:
    """Raise ValueError unless ``mode`` is one of ``MODES``."""
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}.")


def attend(
    q: Float[Tensor, "b heads n d"],
    k: Float[Tensor, "b heads n d"],
    v: Float[Tensor, "b heads n d"],
    hole: Bool[Tensor, "b n"],
    mode: str = "rectified",
    kernel: Callable[[Tensor, Tensor, Tensor], Tensor] = scaled_dot_product_attention,
    softness: float | Float[Tensor, "#b #n"] = 0.0,
) -> Float[Tensor, "b heads n d"]:
    """Attention in which the hole does not look at itself, or less; hole is true where to erase.

    ``rectified`` is eq. 10: only hole-to-hole pairs are blocked.  ``strict`` is the paper's prose: nobody looks at
    the hole.  ``off`` is plain attention.  A sample whose tokens are all hole has nothing else to look at and gets
    plain attention.  ``kernel`` computes unmasked attention of any number of queries over any number of keys.
    ``softness`` weighs the pairs that the mode blocks: 0 blocks them, 1 leaves plain attention; one number for all, or
    for each sample, or for each token that is looked at.
    Raises ValueError for an unknown mode.
    """
    check_mode(mode)
    if mode == "off":
        return kernel(q, k, v)
    return attend_rows(q, k, v, split_rows(hole), mode, kernel, for_each_key(softness, q))


def split_rows(hole: Bool[Tensor, "b n"]) -> list[Tokens]:
    """Each sample's tokens, or a single entry where all samples share one hole."""
    shared = bool((hole == hole[:1]).all())
    return [Tokens.split(row) for row in (hole[:1] if shared else hole)]


def attend_rows(
    q: Tensor, k: Tensor, v: Tensor, rows: list[Tokens], mode: str, kernel: Callable, weights: Tensor | None
) -> Tensor:
    """``attend`` for holes that ``split_rows`` has split already; weights ``[b, n]``, or None where none is above 0."""
    if len(rows) == 1:
        return attend_split(q, k, v, rows[0], mode, kernel, weights)
    each = [None] * len(rows) if weights is None else weights.split(1)
    samples = zip(q.split(1), k.split(1), v.split(1), rows, each, strict=True)
    return torch.cat([attend_split(*qkv, tokens, mode, kernel, own) for *qkv, tokens, own in samples])


def attend_split(
    q: Tensor, k: Tensor, v: Tensor, tokens: Tokens, mode: str, kernel: Callable, weights: Tensor | None
) -> Tensor:
    """``attend`` for samples that share one hole, already split into tokens."""
    if len(tokens.hole) == 0 or (len(tokens.background) == 0 and weights is None):
        return kernel(q, k, v)
    if weights is None:
        k_seen, v_seen = k.index_select(2, tokens.background), v.index_select(2, tokens.background)
    else:
        k_seen, v_seen = _weighed(k, tokens, weights), pad(v, (0, MORE))
    if mode == "strict" or len(tokens.background) == 0:
        return _look(q, k_seen, v_seen, kernel)
    from_background = kernel(q.index_select(2, tokens.background), k, v)
    from_hole = _look(q.index_select(2, tokens.hole), k_seen, v_seen, kernel)
    return torch.cat([from_background, from_hole], dim=2).index_select(2, tokens.order)


def _weighed(k: Tensor, tokens: Tokens, weights: Tensor) -> Tensor:
    """Keys with a few more numbers: their sum is what makes the logits of hole tokens larger by their logarithm."""
    logs = torch.zeros_like(weights)
    logs[:, tokens.hole] = weights[:, tokens.hole].log().clamp_min(BLOCKED) * sqrt(k.shape[-1]) / MORE
    return torch.cat([k, logs.to(k)[:, None, :, None].expand(*k.shape[:3], MORE)], -1)


def _look(q: Tensor, k: Tensor, v: Tensor, kernel: Callable) -> Tensor:
    """Plain attention, of queries with as many ones more as the keys have numbers more."""
    width, more = q.shape[-1], k.shape[-1] - q.shape[-1]
    if more:
        root = sqrt((width + more) / width)  # kernels divide by the root of the new width
        q = pad(q * root, (0, more), value=root)
    return kernel(q, k, v)[..., :width]


def for_each_key(softness: float | Tensor, q: Tensor) -> Float[Tensor, "b n"] | None:
    """The weight of each sample's tokens, in fp32; None where all of them are 0 for certain."""
    if not isinstance(softness, Tensor) and softness == 0:
        return None
    return torch.as_tensor(softness, dtype=torch.float32, device=q.device).expand(len(q), q.shape[2])


def as_bias(hole: Bool[Tensor, "b n"], mode: str, weights: Float[Tensor, "b n"] | None) -> Float[Tensor, "b 1 n n"]:
    """What ``attend_rows`` does, as numbers to add to the logits: for a model that has a mask of its own to add."""
    looked_at = hole & ~hole.all(1, keepdim=True) if weights is None else hole
    blocked = looked_at[:, None, :] & (hole[:, :, None] | (mode == "strict"))
    logs = torch.full(hole.shape, -torch.inf, device=hole.device) if weights is None else weights.log()
    return torch.where(blocked, logs[:, None, :], 0.0)[:, None]


def rectifier(mask: Float[Tensor, "b 1 h w"], mode: str, softness: Softness = HARD) -> SelfAttention | None:
    """The attention that an engine puts into every self-attention layer; None where the mode is ``off``."""
    check_mode(mode)
    if mode == "off":
        return None

    # the hole stays the same for every layer of a grid and every step
    @lru_cache(GRIDS)
    def holes(height: int, width: int, batch: int, device: torch.device) -> Bool[Tensor, "b n"]:
        hole = to_tokens(mask, height, width).to(device)
        return hole.repeat(batch // len(hole), 1)

    @lru_cache(GRIDS)
    def rows(*grid: int | torch.device) -> list[Tokens]:
        return split_rows(holes(*grid))

    @lru_cache(GRIDS)
    def blocked(dtype: torch.dtype, *grid: int | torch.device) -> Float[Tensor, "b 1 n n"]:
        return as_bias(holes(*grid), mode, None).to(dtype)

    def attention(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        height: int,
        width: int,
        sigma: Tensor,
        kernel: Callable = scaled_dot_product_attention,
    ) -> Tensor:
        weights, grid = for_each_key(softness.at(sigma), q), (height, width, len(q), q.device)
        if height * width > FEW:
            return attend_rows(q, k, v, rows(*grid), mode, kernel, weights)
        bias = blocked(q.dtype, *grid) if weights is None else as_bias(holes(*grid), mode, weights).to(q)
        return scaled_dot_product_attention(q, k, v, bias)

    return attention
