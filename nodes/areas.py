"""Regional prompts: under an area of the conditioning the UNet sees a cut-out of the latent, and is not told which.

Before each step ComfyUI knows the areas of all prompts, and what it hands to an attention patch names the prompts of
a call.  A wrapper around the step lets the patch know the areas too.
"""

from collections.abc import Callable

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from inpainting_core.masks import to_grid

Area = tuple[int, int, int, int]  # of the latent: height, width, top, left, as ComfyUI orders them
KEY = "erase_once_areas"  # our place among an attention patch's options


def tell_areas(model: ModelPatcher) -> None:
    """Let the patches of this model know, at each step, the latent's size and every prompt's area."""
    model.remove_wrappers_with_key(WrappersMP.CALC_COND_BATCH, KEY)  # of another patch of ours, which tells the same
    model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, KEY, _step_with_areas)


def _step_with_areas(step: Callable, model: object, prompts: list, x: Tensor, timestep: Tensor, options: dict):
    size = tuple(x.shape[-2:])
    areas = {one["uuid"]: _within(one["area"], size) for some in prompts for one in some or [] if "area" in one}
    areas = {uuid: area for uuid, area in areas.items() if area[:2] != size}  # all of it is none
    told = {**options.get("transformer_options", {}), KEY: (size, areas)}
    return step(model, prompts, x, timestep, {**options, "transformer_options": told})


def _within(area: tuple, size: tuple[int, int]) -> Area:
    """An area may reach beyond the latent, and is cut there."""
    height, width, top, left = area
    return min(height, size[0] - top), min(width, size[1] - left), top, left


def areas_of(options: dict) -> tuple[tuple[int, int], tuple[Area | None, ...]]:
    """The whole latent's size, and the area of each prompt in a call of an attention patch; None is all of it."""
    if KEY not in options:
        return tuple(options["original_shape"][-2:]), (None,) * len(options["cond_or_uncond"])
    size, areas = options[KEY]
    return size, tuple(areas.get(uuid) for uuid in options["uuids"])


def cut_out(mask: Tensor, size: tuple[int, int], area: Area | None) -> Tensor:
    """What of a pixel mask ``[b, 1, h, w]`` lies in an area of the latent of this size, on the latent's grid."""
    if area is None:
        return mask
    height, width, top, left = area
    return to_grid(mask, *size)[..., top : top + height, left : left + width]
