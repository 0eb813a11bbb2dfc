"""Erase with EraDiff: the story of one run."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eradiff_core.attention import HARD, Softness, check_mode, rectifier
from eradiff_core.sampler import ddim, mixed_start, path
from inpainting_core.choosing import Choice, Judge, draw_noise, for_each_draw, mean_of_draws
from inpainting_core.copying import FINER, copying
from inpainting_core.erasing import Erased, erase_holes
from inpainting_core.latents import masked_picture
from inpainting_core.masks import to_grid
from inpainting_core.protocol import Engine, Inputs
from inpainting_core.shapes import Float
from inpainting_core.smaller_batches import in_batches_that_fit
from inpainting_core.texture import match_texture
from inpainting_core.whole import fill_whole

STARTS = ("original", "mixed")


@dataclass(frozen=True)
class Walk:
    """How the path is walked: in how many steps, from how far up, with which attention and how soft, from the
    ``original`` or from it ``mixed`` with a smooth fill (``mixed_start``).  Raises ValueError for what makes no sense.
    """

    steps: int = 12
    strength: float = 1.0
    attention: str = "rectified"
    softness: Softness = HARD
    start: str = "original"

    def __post_init__(self) -> None:
        check_mode(self.attention)
        if self.start not in STARTS:
            raise ValueError(f"start must be one of {STARTS}, got {self.start!r}.")
        path(self.steps, self.strength)

    @property
    def sigmas(self) -> Float[Tensor, "n"]:
        return path(self.steps, self.strength)


def erase(
    engine: Engine,
    image: Tensor,
    mask: Tensor,
    *,
    steps: int = 12,
    strength: float = 1.0,
    attention: str = "rectified",
    softness: Softness = HARD,
    start: str = "original",
    seed: int = 0,
    grow_px: float = 5,
    context: float = 0.5,
    resolution: int | None = None,
    candidates: int = 1,
    judge: Judge | None = None,
    tries: int = 1,
) -> Erased:
    """Remove what the mask covers along EraDiff's path: ``steps`` of DDIM from the noised original, with SRA.

    image: RGB in [0, 1], ``[b, 3, h, w]``, or with alpha, which is handed through.  mask: 1 where to erase, any of
    ComfyUI's shapes.  ``attention`` is rectified, strict or off, ``softness`` what it lets through; ``start`` is
    original or mixed (``Walk``).  ``resolution`` is the side in pixels that the model works at, its own by default;
    ``grow_px`` and ``context`` as in ``erase_holes``; of several ``candidates``, drawn in one batch up to so many
    ``tries``, the one with the least of what ``judge`` finds is taken (``Choice``).  Raises ValueError for input that
    does not fit, before anything is sampled.
    """
    walk = Walk(steps, strength, attention, softness, start)
    choice = Choice(candidates, judge, tries, seed)

    def fill(view: Tensor, hole: Tensor, copies: Tensor | None = None) -> Tensor:
        filled = draw_fill(engine, view, hole, walk, choice.generators, copies)
        return match_texture(filled, view, hole, draw_noise(filled.shape, choice.generators), engine.texture)

    resolution = resolution or engine.resolution
    if engine.texture == "copied":
        fill, resolution = copying(fill, choice.generators, len(image)), FINER * resolution
    return erase_holes(image, mask, fill, resolution=resolution, grow_px=grow_px, context=context, choice=choice)


def raw(
    engine: Engine,
    image: Tensor,
    mask: Tensor,
    *,
    steps: int = 12,
    strength: float = 1.0,
    attention: str = "rectified",
    softness: Softness = HARD,
    start: str = "original",
    seed: int = 0,
    grow_px: float = 0,
    resolution: int | None = None,
) -> Erased:
    """The network's own pictures of ``[b, 3 or 4, h, w]``, as papers score them: decoded, nothing laid over them.

    ``resolution`` squeezes the picture to a square, the usual protocol; without one it keeps its size (``fill_whole``).
    Raises ValueError for input that does not fit.
    """
    walk, choice = Walk(steps, strength, attention, softness, start), Choice(seed=seed)
    shape = (resolution, resolution) if resolution else None

    def fill(view: Tensor, hole: Tensor) -> Tensor:
        choice.begin()  # each picture is drawn as it is alone
        return draw_fill(engine, view, hole, walk, choice.generators)

    return fill_whole(image, mask, fill, grow_px=grow_px, shape=shape)


def draw_fill(
    engine: Engine,
    view: Float[Tensor, "1 3 h w"],
    hole: Float[Tensor, "1 1 h w"],
    walk: Walk,
    generators: list[torch.Generator],
    copies: Float[Tensor, "m 3 h w"] | None = None,
) -> Float[Tensor, "m 3 h w"]:
    """What the network makes of a view and its hole, once for each generator, shown ``copies`` if it corrects them."""

    def draw(some: list[torch.Generator], rows: slice) -> Tensor:
        own = None if copies is None else copies[rows]
        shown = [masked_picture(view, hole, "continued")] if walk.start == "mixed" else []
        shown += [view, masked_picture(view, hole, engine.under_hole, own)]
        *smooth, first, masked = engine.encode(torch.cat(shown)).split([len(one) for one in shown])
        masked, mask_latent = for_each_draw(masked, engine.draws), to_grid(hole, *first.shape[-2:])
        if smooth:
            first = mixed_start(first, *smooth, mask_latent.to(first), walk.sigmas[0])
        each = [generator for generator in some for _ in range(engine.draws)]
        inputs = Inputs(first, mask_latent, masked, rectifier(mask_latent, walk.attention, walk.softness))
        latents = engine.sample(ddim, walk.sigmas, draw_noise(first.shape, each), inputs)
        return engine.decode(mean_of_draws(latents, engine.draws))

    return in_batches_that_fit(draw, generators)
