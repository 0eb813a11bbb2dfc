"""Erase the holes of a picture one crop after another, whatever the method that fills them.

A method gives ``fill(view, hole)``: the crop as the model sees it and its hole in, the crop with the hole filled
out, once for each candidate.  Everything around it is the same for every method and stands here: masks, crops, the
choice between candidates, the seam.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from inpainting_core.choosing import Choice, Chosen, choose
from inpainting_core.crop import Crop, Patch, crop_mask, crop_picture, plan_patches, stitch
from inpainting_core.masks import as_mask, feather
from inpainting_core.shapes import Float

GROWN_AT_PX = 512  # `grow_px` is meant for a crop of this size
ONE = Choice()

Fill = Callable[[Float[Tensor, "1 3 h w"], Float[Tensor, "1 1 h w"]], Float[Tensor, "n 3 h w"]]


@dataclass(frozen=True)
class Erased:
    """The pictures without their objects, where they differ from the given ones, and how they came about.

    ``candidates`` are as many pictures for each given one as were asked for, made of each crop's best, second best and
    so on.  ``crops`` are what was worked on; each has its ``tries`` and the share of its hole in which the judge still
    saw something.
    """

    image: Float[Tensor, "b 3 h w"]
    changed: Float[Tensor, "b 1 h w"]
    crops: tuple[Crop, ...]
    candidates: Float[Tensor, "m 3 h w"]
    tries: tuple[int, ...]
    left: tuple[float, ...]


def erase_holes(
    image: Tensor, mask: Tensor, fill: Fill, *, resolution: int, grow_px: float, context: float, choice: Choice = ONE
) -> Erased:
    """Fill the hole of each picture; every pixel beyond the grown hole comes back bit-exact.

    image: RGB in [0, 1], ``[b, 3, h, w]``.  mask: any of ComfyUI's shapes, 1 where to erase, one for all pictures or
    one each; several for a single picture are as many objects, each erased in a crop of its own however near they are.
    An empty mask gives the picture back.  ``grow_px`` widens the hole (in pixels of a 512 px crop), and the
    seam is blended inside that ring.  ``context`` is how much of the surroundings to see, as a fraction of the hole.
    ``choice`` says how many candidates ``fill`` gives, and which is taken.
    Raises ValueError for a picture or a mask that does not fit, before anything is sampled.
    """
    check_picture(image)
    alone = len(image) == 1
    frames = mask.shape[:-2].numel() if alone else len(image)
    mask = as_mask(mask, *image.shape[-2:], frames=frames).to(image.device)
    plans = [plan(one, resolution, grow_px, context) for one in mask]
    plans = [[patch for patches in plans for patch in patches]] if alone else plans
    for patches in plans:
        check_sees(patches)
    results = [_erase_one(one[None], plans[i % len(plans)], fill, choice) for i, one in enumerate(image)]
    candidates, changed, chosen = zip(*results, strict=True)
    crops = tuple(patch.crop for i in range(len(image)) for patch in plans[i % len(plans)])
    tries = tuple(one.tries for crop in chosen for one in crop)
    left = tuple(float(one.areas[0]) for crop in chosen for one in crop)
    best = torch.cat([one[:1] for one in candidates])
    return Erased(best, torch.cat(changed), crops, torch.cat(candidates), tries, left)


def check_picture(image: Tensor) -> None:
    """Raise ValueError unless the picture is a batch of RGB with finite numbers."""
    if image.ndim != 4 or image.shape[1] != 3:
        channels = image.shape[1] if image.ndim == 4 else list(image.shape)
        raise ValueError(f"image must have 3 channels (RGB), got {channels}.")
    if not bool(image.isfinite().all()):
        raise ValueError("image must hold finite numbers only, got NaN or infinity.")


def plan(mask: Float[Tensor, "1 h w"], resolution: int, grow_px: float, context: float) -> list[Patch]:
    """The patches of one picture's hole, grown.  Raises ValueError where nothing would be left to look at."""
    if bool(mask.all()):
        raise ValueError("mask must leave some of the picture to look at, got one that covers all of it.")
    patches = plan_patches(mask[None], resolution, context, margin_px(grow_px))
    return [Patch(patch.crop, feather(patch.blend, ring_px(patch.crop, grow_px))) for patch in patches]


def check_sees(patches: list[Patch]) -> None:
    """Raise ValueError where a crop would be all hole when its turn comes."""
    for i, patch in enumerate(patches):
        if bool(crop_mask(awaiting(patches[i:]), patch.crop).all()):
            raise ValueError("mask must leave some of its surroundings to look at: widen context or reduce grow.")


def awaiting(patches: list[Patch]) -> Float[Tensor, "1 1 h w"]:
    """The holes of all: an object that still awaits its turn is hole too, so that nothing is painted from it."""
    return torch.stack([patch.hole for patch in patches]).amax(0)


def margin_px(grow_px: float) -> int:
    """What must be seen around a hole in any case: its ring, as much again, and a latent cell."""
    return ceil(2 * grow_px) + 8


def ring_px(crop: Crop, grow_px: float) -> float:
    """``grow_px`` is meant for a 512 px crop: a larger crop gets a ring as much wider, a smaller one the same."""
    side = (crop.height * crop.width) ** 0.5
    return grow_px * max(1.0, side / GROWN_AT_PX)


def _erase_one(
    image: Float[Tensor, "1 3 h w"], patches: list[Patch], fill: Fill, choice: Choice
) -> tuple[Float[Tensor, "n 3 h w"], Float[Tensor, "1 1 h w"], list[Chosen]]:
    """The picture with each crop's best, second best, ... laid in, where it changed, and what was chosen."""
    changed, chosen = image.new_zeros(1, 1, *image.shape[-2:]), []
    candidates = image.expand(choice.candidates, -1, -1, -1)
    for i, patch in enumerate(patches):
        view, hole = crop_picture(candidates[:1], patch.crop), crop_mask(awaiting(patches[i:]), patch.crop)
        chosen.append(choose(fill, view, hole, choice))
        candidates = stitch(candidates, chosen[-1].fills, patch.crop, patch.blend)
        changed = torch.maximum(changed, patch.hole)
    return candidates, changed, chosen
