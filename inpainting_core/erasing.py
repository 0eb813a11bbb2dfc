"""Erase the holes of a picture one crop after another, whatever the method that fills them.

A method gives ``fill(view, hole)``: the crop as the model sees it and its hole in, the crop with the hole filled
out, once for each candidate.  Everything around it is the same for every method and stands here: masks, crops, the
choice between candidates, the seam.
"""

from dataclasses import dataclass
from math import ceil, isfinite

import torch
from torch import Tensor

from inpainting_core.alpha import crop_visible, with_alpha_of
from inpainting_core.choosing import Choice, Chosen, Copies, Fill, choose
from inpainting_core.crop import Crop, at_least_fp32, stitch_into
from inpainting_core.detail import copied_detail
from inpainting_core.exposure import Exposure
from inpainting_core.masks import as_objects
from inpainting_core.planning import Patch, plan_patches, seen_holes, with_ring
from inpainting_core.shapes import Float

GROWN_AT_PX = 512  # `grow_px` is meant for a crop of this size, or of the model's own where that is larger
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # of a picture's numbers
LARGEST = 1e30  # a number of a picture: of larger ones fp32 cannot hold the sum
ONE = Choice()


@dataclass(frozen=True)
class Erased:
    """The pictures without their objects, where they differ from the given ones, and how they came about.

    ``candidates`` are as many pictures for each given one as were asked for, made of each crop's best, second best and
    so on.  ``crops`` are what was worked on; each has its ``tries`` and the share of its hole in which the judge still
    saw something.  ``objects`` is how many there were: far-apart parts of a mask count each.  ``highest`` is the mask's
    highest value, of which less than 1/2 is no hole, and ``share`` the part of the picture that is hole, 0 to 1, the
    largest of a batch.
    """

    image: Float[Tensor, "b c h w"]
    changed: Float[Tensor, "b 1 h w"]
    crops: tuple[Crop, ...]
    candidates: Float[Tensor, "m c h w"]
    tries: tuple[int, ...]
    left: tuple[float, ...]
    objects: int
    highest: float
    share: float


@dataclass(frozen=True, eq=False)
class Step:
    """One crop's work: its patch with the ring, which of the masks it is of, and what of it is hole at its turn."""

    patch: Patch
    mask: int
    hole: Float[Tensor, "1 1 wh ww"]


def erase_holes(
    image: Tensor, mask: Tensor, fill: Fill, *, resolution: int, grow_px: float, context: float, choice: Choice = ONE
) -> Erased:
    """Fill the hole of each picture; every pixel beyond the grown hole comes back bit-exact.

    image: RGB in [0, 1], or RGB and straight alpha, which is handed through, ``[b, 3 or 4, h, w]``; values beyond
    [0, 1] are filled at their own level.  mask: any of ComfyUI's shapes, 1 where to erase, one for all pictures or
    one each; several for a single picture are as many objects, each erased in crops of its own however near they are.
    An empty mask gives the picture back.  ``grow_px`` widens the hole (in pixels of a 512 px crop), and the
    seam is blended inside that ring.  ``context`` is how much of the surroundings to see, as a fraction of the hole.
    ``choice`` says how many candidates ``fill`` gives, and which is taken; each picture is drawn as it is alone.
    Raises ValueError for a picture or a mask that does not fit, before anything is sampled.
    """
    check_picture(image)
    size = image.shape[-2:]
    plans, share = _plan_each(as_objects(mask, *size, frames=len(image)).cpu(), resolution, grow_px, context)
    counts = [len({(step.mask, number) for step in steps for number in step.patch.objects}) for steps in plans]
    candidates = _copies(image[:, :3], choice.candidates)
    changed = image.new_zeros(len(image), 1, *size)
    drawn = candidates.split(choice.candidates), changed.split(1), image[:, 3:].split(1)
    chosen = [_erase_one(*one, plans[i % len(plans)], fill, choice) for i, one in enumerate(zip(*drawn, strict=True))]
    candidates = with_alpha_of(image, candidates)
    return Erased(
        image=candidates[:: choice.candidates],
        changed=changed,
        crops=tuple(step.patch.crop for i in range(len(image)) for step in plans[i % len(plans)]),
        candidates=candidates,
        tries=tuple(one.tries for crops in chosen for one in crops),
        left=tuple(float(one.areas[0]) for crops in chosen for one in crops),
        objects=sum(counts[i % len(plans)] for i in range(len(image))),
        highest=float(mask.max()),
        share=share,
    )


def _copies(pictures: Float[Tensor, "b 3 h w"], times: int) -> Float[Tensor, "m 3 h w"]:
    """So many of each; one stays laid out as it came: turning ComfyUI's round and back is two copies more."""
    return pictures.clone() if times == 1 else pictures.repeat_interleave(times, 0)


def _plan_each(objects: Float[Tensor, "b n h w"], *settings: float) -> tuple[list[list[Step]], float]:
    """``plan`` for each picture, and the part of one that is hole, the largest of the batch.

    Masks as large as the picture are let go with the call, before there is another picture.
    """
    return [plan(one, *settings) for one in objects], float(_united(objects, 1).mean((1, 2)).max())


def _united(masks: Tensor, axis: int) -> Tensor:
    """All masks in one; of one alone a maximum would be a slow copy."""
    return masks.select(axis, 0) if masks.shape[axis] == 1 else masks.amax(axis)


def check_picture(image: Tensor) -> None:
    """Raise ValueError unless the picture is a batch of RGB, or RGB and alpha, of numbers that can be reckoned with."""
    if image.ndim != 4 or image.shape[1] not in (3, 4):
        channels = image.shape[1] if image.ndim == 4 else list(image.shape)
        raise ValueError(f"image must have 3 channels (RGB) or 4 (RGB and alpha), got {channels}. Convert it.")
    if image.numel() == 0:
        raise ValueError(f"image must have pixels, got a picture of the shape {list(image.shape)}. Load it again.")
    if image.dtype not in DTYPES:
        raise ValueError(
            f"image must hold float16, bfloat16, float32 or float64 numbers, 1 for white, got {image.dtype}. "
            "Convert it."
        )
    ends = [float(image.amin()), float(image.amax())]  # aminmax would turn a picture of ComfyUI's round first
    if not all(isfinite(end) for end in ends):
        raise ValueError("image must hold finite numbers only, got NaN or infinity. Check where it comes from.")
    if max(map(abs, ends)) > LARGEST:
        raise ValueError(
            f"image must hold numbers of at most {LARGEST:.0e}, got {ends[0]:.1e} to {ends[1]:.1e}. "
            "Check where it comes from."
        )


def plan(masks: Float[Tensor, "n h w"], resolution: int, grow_px: float, context: float) -> list[Step]:
    """The work on one picture's objects, each mask's by itself, one crop after another.

    Raises ValueError where a crop would be all hole when its turn comes.
    """
    if _united(masks, 0).amin() > 0:
        raise ValueError(
            "mask must leave some of the picture to look at, got one that covers all of it. Invert it, or cover less."
        )
    size = masks.shape[-2:]
    planned = [
        (number, with_ring(patch, ring_px(patch.crop, grow_px), size))
        for number, mask in enumerate(masks)
        for patch in plan_patches(mask[None, None], resolution, context, margin_px(grow_px))
    ]
    patches = [patch for _, patch in planned]
    steps = [
        Step(patch, number, seen_holes(patches[i:], patch.crop, size)) for i, (number, patch) in enumerate(planned)
    ]
    if any(bool(step.hole.all()) for step in steps):
        raise ValueError("mask must leave some surroundings in view: raise context or lower grow.")
    return steps


def margin_px(grow_px: float) -> int:
    """What must be seen around a hole in any case: its ring, as much again, and a latent cell."""
    return ceil(2 * grow_px) + 8


def ring_px(crop: Crop, grow_px: float) -> float:
    """``grow_px`` where the model sees the crop at full size; as much wider in the picture as it sees it smaller.

    A model of less than 512 px counts as one of 512: what it sees is coarse, and its ring would be too.
    """
    side, seen_at = (crop.height * crop.width) ** 0.5, (crop.work_height * crop.work_width) ** 0.5
    return grow_px * max(1.0, side / max(GROWN_AT_PX, seen_at))


def _erase_one(
    candidates: Float[Tensor, "n 3 h w"],
    changed: Float[Tensor, "1 1 h w"],
    alpha: Float[Tensor, "1 k h w"],
    steps: list[Step],
    fill: Fill,
    choice: Choice,
) -> list[Chosen]:
    """Lay each crop's best, second best, ... into copies of one picture, in place; what was chosen for each crop."""
    choice.begin()
    chosen = []
    for patch, hole in ((step.patch, step.hole.to(candidates)) for step in steps):
        view = at_least_fp32(crop_visible(candidates[:1], alpha, patch.crop))
        exposure = Exposure.of(view, hole)
        chosen.append(choose(fill, exposure.into_range(view), hole, choice))
        fills, sources = exposure.out_of_range(chosen[-1].fills), chosen[-1].sources
        reduced = sources is not None and patch.crop.scale < 1
        detail = (
            copied_detail(candidates[:1], alpha, hole, Copies(fills, sources), patch.crop, patch.box)
            if reduced
            else None
        )
        stitch_into(candidates, fills, patch.crop, patch.blend, patch.box, detail)
        top, left, bottom, right = patch.box
        there = changed[..., top:bottom, left:right]
        torch.maximum(there, patch.hole.to(there), out=there)
    return chosen
