"""Erase with EraDiff: the story of one run."""

from torch import Tensor

from eradiff_core.attention import check_mode, rectifier
from eradiff_core.sampler import ddim, path
from inpainting_core.choosing import Choice, Judge, draw_noise, mean_of_draws
from inpainting_core.copying import FINER, copying
from inpainting_core.engine import Engine, Inputs
from inpainting_core.erasing import Erased, erase_holes
from inpainting_core.latents import masked_picture
from inpainting_core.masks import to_grid
from inpainting_core.texture import match_texture


def erase(
    engine: Engine,
    image: Tensor,
    mask: Tensor,
    *,
    steps: int = 12,
    strength: float = 1.0,
    attention: str = "rectified",
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
    ComfyUI's shapes.  ``attention`` is rectified, strict or off.  ``resolution`` is the side in pixels that the model
    works at, its own by default; ``grow_px`` and ``context`` as in ``erase_holes``; of several ``candidates``, drawn in
    one batch up to so many ``tries``, the one with the least of what ``judge`` finds is taken (``Choice``).  Raises
    ValueError for input that does not fit, before anything is sampled.
    """
    check_mode(attention)
    sigmas = path(steps, strength)
    choice = Choice(candidates, judge, tries, seed)
    each = [generator for generator in choice.generators for _ in range(engine.draws)]

    def fill(view: Tensor, hole: Tensor) -> Tensor:
        original = engine.encode(view)
        masked = engine.encode(masked_picture(view, hole, engine.under_hole))
        mask_latent = to_grid(hole, *original.shape[-2:])
        noise = draw_noise(original.shape, each)
        inputs = Inputs(original, mask_latent, masked, rectifier(mask_latent, attention))
        filled = engine.decode(mean_of_draws(engine.sample(ddim, sigmas, noise, inputs), engine.draws))
        return match_texture(filled, view, hole, draw_noise(filled.shape, choice.generators), engine.texture)

    resolution = resolution or engine.resolution
    if engine.texture == "copied":
        fill, resolution = copying(fill, choice.generators), FINER * resolution
    return erase_holes(image, mask, fill, resolution=resolution, grow_px=grow_px, context=context, choice=choice)
