"""Erase with YOEO: the story of one run."""

import torch
from torch import Tensor

from inpainting_core.choosing import Choice, Fill, Judge, draw_noise, for_each_draw, mean_of_draws
from inpainting_core.copying import FINER, copying
from inpainting_core.erasing import Erased, erase_holes
from inpainting_core.latents import masked_picture
from inpainting_core.masks import to_grid, to_nearest
from inpainting_core.protocol import Engine, Inputs
from inpainting_core.shapes import Float
from inpainting_core.smaller_batches import in_batches_that_fit
from inpainting_core.texture import match_texture
from inpainting_core.whole import Reduce, fill_whole
from yoeo_core.consistency import lcm, path
from yoeo_core.official import nearest_shape


def erase(
    engine: Engine,
    image: Tensor,
    mask: Tensor,
    *,
    steps: int = 2,
    seed: int = 0,
    grow_px: float = 5,
    context: float = 0.5,
    resolution: int | None = None,
    candidates: int = 1,
    judge: Judge | None = None,
    tries: int = 1,
) -> Erased:
    """Remove what the mask covers in ``steps`` (1 to 4) consistency steps from pure noise.

    image: RGB in [0, 1], ``[b, 3, h, w]``, or with alpha, which is handed through.  mask: 1 where to erase, any of
    ComfyUI's shapes.  ``resolution`` is the side in pixels that the model works at, its own by default; ``grow_px`` and
    ``context`` as in ``erase_holes``; of several ``candidates``, drawn in one batch up to so many ``tries``, the one
    with the least of what ``judge`` finds is taken (``Choice``).  Raises ValueError for input that does not fit, before
    anything is sampled.
    """
    sigmas = path(steps)
    choice = Choice(candidates, judge, tries, seed)

    def fill(view: Tensor, hole: Tensor, copies: Tensor | None = None) -> Tensor:
        return fill_hole(engine, view, hole, sigmas, choice.generators, copies)

    resolution = resolution or engine.resolution
    if engine.texture == "copied":
        fill, resolution = copying(fill, choice.generators, len(image)), FINER * resolution
    return erase_holes(image, mask, fill, resolution=resolution, grow_px=grow_px, context=context, choice=choice)


def raw(
    engine: Engine,
    image: Tensor,
    mask: Tensor,
    *,
    steps: int = 2,
    seed: int = 0,
    grow_px: float = 0,
    resolution: int | None = None,
) -> Erased:
    """The network's own pictures of ``[b, 3 or 4, h, w]``: decoded, nothing laid over them.

    ``resolution`` squeezes a picture to a square; without one it keeps its size (``fill_whole``).
    Raises ValueError for input that does not fit.
    """
    shape = (resolution, resolution) if resolution else None
    return fill_whole(image, mask, _fill(engine, path(steps), seed), grow_px=grow_px, shape=shape)


def official(engine: Engine, image: Tensor, mask: Tensor, *, steps: int = 2, seed: int = 0) -> Erased:
    """The network's own pictures of ``[b, 3 or 4, h, w]`` as YOEO's authors get theirs (``yoeo_core.official``).

    The answer is brought back to the picture's size, which theirs is not.  Of what they leave to chance the latent of
    the masked picture is the most likely one here, and the noise is the seed's.
    Raises ValueError for input that does not fit.
    """
    shape = nearest_shape(*image.shape[-2:])
    return fill_whole(image, mask, _fill(engine, path(steps), seed, to_nearest), shape=shape, reduce=to_nearest)


def _fill(engine: Engine, sigmas: Float[Tensor, "n"], seed: int, reduce: Reduce = to_grid) -> Fill:
    """The network's own picture of a view, drawn for each as it is alone."""
    choice = Choice(seed=seed)

    def fill(view: Tensor, hole: Tensor) -> Tensor:
        choice.begin()
        return draw_fill(engine, view, hole, sigmas, choice.generators, reduce)

    return fill


def fill_hole(
    engine: Engine,
    view: Float[Tensor, "1 3 h w"],
    hole: Float[Tensor, "1 1 h w"],
    sigmas: Float[Tensor, "n"],
    generators: list[torch.Generator],
    copies: Float[Tensor, "m 3 h w"] | None = None,
) -> Float[Tensor, "m 3 h w"]:
    """A crop with its hole filled, once for each generator, with the grain or the texture around it."""
    filled = draw_fill(engine, view, hole, sigmas, generators, copies=copies)
    return match_texture(filled, view, hole, draw_noise(filled.shape, generators), engine.texture)


def draw_fill(
    engine: Engine,
    view: Float[Tensor, "1 3 h w"],
    hole: Float[Tensor, "1 1 h w"],
    sigmas: Float[Tensor, "n"],
    generators: list[torch.Generator],
    reduce: Reduce = to_grid,
    copies: Float[Tensor, "m 3 h w"] | None = None,
) -> Float[Tensor, "m 3 h w"]:
    """What the network makes of a view and its hole, once for each generator, shown ``copies`` if it corrects them."""

    def draw(some: list[torch.Generator], rows: slice) -> Tensor:
        own = None if copies is None else copies[rows]
        masked = for_each_draw(engine.encode(masked_picture(view, hole, engine.under_hole, own)), engine.draws)
        each = [generator for generator in some for _ in range(engine.draws)]
        latents = from_noise(engine, masked, reduce(hole, *masked.shape[-2:]), sigmas, each)
        return engine.decode(mean_of_draws(latents, engine.draws))

    return in_batches_that_fit(draw, generators)


def from_noise(
    engine: Engine,
    masked: Float[Tensor, "#b 4 h w"],
    mask: Float[Tensor, "#b 1 h w"],
    sigmas: Float[Tensor, "n"],
    generators: list[torch.Generator],
) -> Float[Tensor, "b 4 h w"]:
    """The latents that the consistency steps reach from pure noise, one for each generator."""
    inputs = Inputs(torch.zeros_like(masked), mask, masked)
    return engine.sample(lcm(generators), sigmas, draw_noise(masked.shape, generators), inputs)
