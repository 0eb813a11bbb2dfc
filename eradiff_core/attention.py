"""Self-Rectifying Attention (EraDiff, sec. 4.2, eq. 10 and 11).

Hole tokens must not lean on one another: early in the path they hold only noise and artefacts, and a hole that
looks at itself grows a new object.  The paper writes the rule as a mask m' on the logits; blocked pairs are the
ones where both tokens are hole.  Instead of building that n x n mask we leave the blocked keys out, which is the
same sum, keeps every fast attention kernel, and costs less than plain attention.

Soft attention blocks them in part: a pair's share is weighed by a factor between 0 (blocked) and 1 (plain).  Its
logarithm is added to the logits by a few more numbers on queries and keys, so that no mask is built for that either.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import sqrt

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from inpainting_core.masks import to_tokens
from inpainting_core.self_attention import SelfAttention
from inpainting_core.shapes import Bool, Float, Int

MODES = ("rectified", "strict", "off")

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
    if isinstance(softness, Tensor) or softness > 0:
        return attend_softly(q, k, v, hole, softness, mode, kernel)
    return attend_rows(q, k, v, split_rows(hole), mode, kernel)


def split_rows(hole: Bool[Tensor, "b n"]) -> list[Tokens]:
    """Each sample's tokens, or a single entry where all samples share one hole."""
    shared = bool((hole == hole[:1]).all())
    return [Tokens.split(row) for row in (hole[:1] if shared else hole)]


def attend_rows(q: Tensor, k: Tensor, v: Tensor, rows: list[Tokens], mode: str, kernel: Callable) -> Tensor:
    """``attend`` for holes that ``split_rows`` has split already."""
    if len(rows) == 1:
        return attend_split(q, k, v, rows[0], mode, kernel)
    samples = zip(q.split(1), k.split(1), v.split(1), rows, strict=True)
    return torch.cat([attend_split(*qkv, tokens, mode, kernel) for *qkv, tokens in samples])


def attend_split(q: Tensor, k: Tensor, v: Tensor, tokens: Tokens, mode: str, kernel: Callable) -> Tensor:
    """``attend`` for samples that share one hole, already split into tokens."""
    if len(tokens.hole) == 0 or len(tokens.background) == 0:
        return kernel(q, k, v)
    k_background, v_background = k.index_select(2, tokens.background), v.index_select(2, tokens.background)
    if mode == "strict":
        return kernel(q, k_background, v_background)
    from_background = kernel(q.index_select(2, tokens.background), k, v)
    from_hole = kernel(q.index_select(2, tokens.hole), k_background, v_background)
    return torch.cat([from_background, from_hole], dim=2).index_select(2, tokens.order)


def attend_softly(
    q: Tensor, k: Tensor, v: Tensor, hole: Tensor, softness: float | Tensor, mode: str, kernel: Callable
) -> Tensor:
    """``attend`` with the logarithm of the softness added to the logits of the pairs that the mode blocks.

    Queries get a few more numbers that are 1 where they ask from the hole (under ``strict``, everywhere) and 0
    elsewhere, keys as many that sum to the logarithm in the hole and are 0 elsewhere.
    """
    width, inside = q.shape[-1], hole[:, None, :, None]
    weights = torch.as_tensor(softness, dtype=torch.float32, device=q.device).expand(hole.shape)[:, None, :, None]
    asked = torch.where(inside, weights.log().clamp_min(BLOCKED), 0) * sqrt(width) / MORE
    asking = inside if mode == "rectified" else torch.ones_like(inside)
    more = (*q.shape[:3], MORE)
    q = torch.cat([q, asking.to(q).expand(more)], -1) * sqrt((width + MORE) / width)  # kernels divide by the new root
    k = torch.cat([k, asked.to(k).expand(more)], -1)
    return kernel(q, k, pad(v, (0, MORE)))[..., :width]


def rectifier(mask: Float[Tensor, "b 1 h w"], mode: str, softness: Softness = HARD) -> SelfAttention | None:
    """The attention that an engine puts into every self-attention layer; None where the mode is ``off``."""
    check_mode(mode)
    if mode == "off":
        return None

    @cache  # the hole stays the same for every layer of a grid and every step
    def holes(height: int, width: int, batch: int, device: torch.device) -> Tensor:
        hole = to_tokens(mask, height, width).to(device)
        return hole.repeat(batch // len(hole), 1)

    @cache
    def rows(height: int, width: int, batch: int, device: torch.device) -> list[Tokens]:
        return split_rows(holes(height, width, batch, device))

    def attention(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        height: int,
        width: int,
        sigma: Tensor,
        kernel: Callable = scaled_dot_product_attention,
    ) -> Tensor:
        grid = height, width, len(q), q.device
        if softness == HARD:
            return attend_rows(q, k, v, rows(*grid), mode, kernel)
        return attend_softly(q, k, v, holes(*grid), softness.at(sigma.to(q.device)), mode, kernel)

    return attention
