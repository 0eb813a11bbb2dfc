"""Self-Rectifying Attention (EraDiff, sec. 4.2, eq. 10 and 11).

Hole tokens must not lean on one another: early in the path they hold only noise and artefacts, and a hole that
looks at itself grows a new object.  The paper writes the rule as a mask m' on the logits; blocked pairs are the
ones where both tokens are hole.  Instead of building that n x n mask we leave the blocked keys out, which is the
same sum, keeps every fast attention kernel, and costs less than plain attention.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from inpainting_core.masks import to_tokens
from inpainting_core.shapes import Bool, Float, Int

MODES = ("rectified", "strict", "off")


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
) -> Float[Tensor, "b heads n d"]:
    """Attention in which the hole does not look at itself; hole is true where to erase.

    ``rectified`` is eq. 10: only hole-to-hole pairs are blocked.  ``strict`` is the paper's prose: nobody looks at
    the hole.  ``off`` is plain attention.  A sample whose tokens are all hole has nothing else to look at and gets
    plain attention.  ``kernel`` computes unmasked attention of any number of queries over any number of keys.
    Raises ValueError for an unknown mode.
    """
    check_mode(mode)
    if mode == "off":
        return kernel(q, k, v)
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


def rectifier(mask: Float[Tensor, "b 1 h w"], mode: str) -> Callable[..., Tensor] | None:
    """The attention that an engine puts into every self-attention layer; None where the mode is ``off``.

    It is called with q, k, v ``[b, heads, n, d]``, the layer's token grid (height, width), n = height * width, and
    the engine's own kernel where it has one.
    """
    check_mode(mode)
    if mode == "off":
        return None

    @cache  # the hole stays the same for every layer of a grid and every step
    def rows(height: int, width: int, batch: int, device: torch.device) -> list[Tokens]:
        hole = to_tokens(mask, height, width).to(device)
        return split_rows(hole.repeat(batch // len(hole), 1))

    def attention(
        q: Tensor, k: Tensor, v: Tensor, height: int, width: int, kernel: Callable = scaled_dot_product_attention
    ) -> Tensor:
        return attend_rows(q, k, v, rows(height, width, len(q), q.device), mode, kernel)

    return attention
