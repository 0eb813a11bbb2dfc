"""Best of several: draw a few fills of one hole at once, look at each, and keep the best.

A fill is better the less of the hole holds something new, as a judge sees it.  Between fills that a judge finds alike,
or without one, the seam decides: how well a fill continues the known pixels around the hole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from inpainting_core.colour import BAND_PX, match_colour
from inpainting_core.masks import dilate
from inpainting_core.shapes import Float, Int

# The crop with its hole filled, ``[n, 3, h, w]``, and the hole ``[1, 1, h, w]`` -> what share of it is something new.
Judge = Callable[[Tensor, Tensor], Float[Tensor, "n"]]


class Copies(NamedTuple):
    """A crop with its hole filled by copies, once for each candidate, and from where, row and column of the crop.

    Those of a pixel that is no copy are -1.
    """

    pictures: Float[Tensor, "n 3 h w"]
    sources: Int[Tensor, "n 2 h w"]


# The crop as the model sees it, ``[1, 3, h, w]``, and its hole ``[1, 1, h, w]`` -> the crop with its hole filled, once
# for each candidate.
Fill = Callable[[Tensor, Tensor], Float[Tensor, "n 3 h w"] | Copies]

MOST_CANDIDATES = 8
LOOKED_AT_PX = 64  # at the model's resolution: how far around the hole a fill is compared with the picture


@dataclass(frozen=True)
class Choice:
    """How many fills are drawn at once and from which seed, who judges them, and how often until one is clean.

    Raises ValueError for numbers that make no sense, and for further tries that nobody could end.
    """

    candidates: int = 1
    judge: Judge | None = None
    tries: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.candidates <= MOST_CANDIDATES:
            raise ValueError(f"candidates must lie in 1..{MOST_CANDIDATES}, got {self.candidates}.")
        if self.tries < 1:
            raise ValueError(f"tries must be at least 1, got {self.tries}.")
        if self.tries > 1 and self.judge is None:
            raise ValueError(f"more than one try needs a judge that says when it is clean, got {self.tries} without.")

    @property
    def seeds(self) -> list[int]:
        """One for each candidate: the k-th is drawn as seed + k alone would draw it."""
        return [(self.seed + k) % 2**64 for k in range(self.candidates)]

    @cached_property
    def generators(self) -> list[torch.Generator]:
        """One for each candidate, at its seed to begin with."""
        return [torch.Generator().manual_seed(seed) for seed in self.seeds]

    def begin(self) -> None:
        """Take the generators back to their seeds, so that the next picture is drawn as it would be alone."""
        for generator, seed in zip(self.generators, self.seeds, strict=True):
            generator.manual_seed(seed)


@dataclass(frozen=True, eq=False)
class Chosen:
    """The candidates of one crop, the best first, their sundry areas, how often it was drawn, and where copies are from
    (``Copies``); None of a method that does not copy."""

    fills: Float[Tensor, "n 3 h w"]
    areas: Float[Tensor, "n"]
    tries: int
    sources: Int[Tensor, "n 2 h w"] | None = None


def choose(fill: Fill, view: Float[Tensor, "1 3 h w"], hole: Float[Tensor, "1 1 h w"], by: Choice) -> Chosen:
    """Draw candidates until one is clean or the tries are spent; the best of all that were drawn, best first."""
    fills, areas, seams, sources = view[:0], view.new_zeros(0), view.new_zeros(0), None
    near, tries = neighbourhood(hole), 0
    while tries < by.tries and not (areas[:1] == 0).any():
        drawn, tries = fill(view, hole), tries + 1
        if isinstance(drawn, Copies):
            drawn, copied = drawn
            sources = copied if sources is None else torch.cat([sources, copied])
        drawn = drawn.to(view).clone()
        seams = torch.cat([seams, seam_energy(drawn[near], view[near], hole[near])])
        drawn[near] = match_colour(drawn[near], view[near], hole[near])
        found = by.judge(drawn, hole).to(areas) if by.judge else areas.new_zeros(len(drawn))
        fills, areas = torch.cat([fills, drawn]), torch.cat([areas, found])
        order = sorted(range(len(fills)), key=lambda i: (float(areas[i]), float(seams[i])))[: by.candidates]
        fills, areas, seams = fills[order], areas[order], seams[order]
        sources = sources if sources is None else sources[order]
    return Chosen(fills, areas, tries, sources)


def neighbourhood(hole: Float[Tensor, "1 1 h w"]) -> tuple:
    """The part of a crop, as an index, that what stands around its hole is compared in; all of it without a hole."""
    spans = [...]
    for axis in (-2, -1):
        filled = hole[0, 0].any(-3 - axis).nonzero().flatten().tolist() or [0, hole.shape[axis]]
        spans.append(slice(max(0, filled[0] - LOOKED_AT_PX), filled[-1] + 1 + LOOKED_AT_PX))
    return tuple(spans)


def seam_energy(
    filled: Float[Tensor, "n 3 h w"], view: Float[Tensor, "1 3 h w"], hole: Float[Tensor, "1 1 h w"]
) -> Float[Tensor, "n"]:
    """How far a fill is from the pixels that are known right around its hole, a mean absolute difference.

    A network draws the latent cells on the hole's edge anew, as a whole: what of them lies outside can be compared.
    """
    band = dilate(hole, BAND_PX) * (1 - hole)
    return ((filled - view).abs().mean(1, keepdim=True) * band).flatten(1).sum(1) / band.sum().clamp(min=1)


def mean_of_draws(latents: Float[Tensor, "m 4 h w"], draws: int) -> Float[Tensor, "n 4 h w"]:
    """One latent for each candidate, of so many draws in a row."""
    return latents.unflatten(0, (-1, draws)).mean(1)


def for_each_draw(latents: Float[Tensor, "n 4 h w"], draws: int) -> Float[Tensor, "m 4 h w"]:
    """The candidates' latents, so many times in a row each; one alone is all candidates' and stays alone."""
    return latents.repeat_interleave(draws, 0) if len(latents) > 1 else latents


def draw_noise(shape: torch.Size, generators: list[torch.Generator], dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal noise for so many candidates, each from its own generator: ``[n, *shape[1:]]``."""
    return torch.cat([torch.randn((1, *shape[1:]), generator=one, dtype=dtype) for one in generators])
