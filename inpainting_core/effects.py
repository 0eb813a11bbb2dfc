"""What an object does to the picture beyond its mask: the shadow that lies around it, found without a network.

A soft shadow is deepest where it touches the object, and ends where all the light is back.  So brightness is followed
outwards from every stretch of the object's outline, ring by ring: it rises while there is shadow, and is level beyond.
What is brighter or of another colour than that, as a marking on a road, is looked over while it is narrow; where it is
not, the ground has changed and nothing more is said.  A rise that nobody can see is no shadow.  A hard shadow has rules
of its own (``hard_shadow``).
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from inpainting_core.alpha import visible
from inpainting_core.erasing import check_picture
from inpainting_core.hard_shadow import hard_shadow_of
from inpainting_core.masks import NEIGHBOURS, as_objects
from inpainting_core.shapes import Bool, Float
from inpainting_core.surroundings import REACH, SECTORS, Surroundings, around

# Lengths are shares of an object's size, brightness is the logarithm of the luminance (``surroundings``).
RISE = 0.005  # of brightness from one ring to the next: less is level
LEVEL = 2  # rings without a rise, after which it is level
JUMP = 0.2  # of brightness over the highest so far: more is another ground, or a marking
COLOUR = 0.05  # of chromaticity: more is another ground, or a marking
MARKING = 3  # rings that are looked over at most
SEEN = 0.03  # of brightness from the outline to where it is level: less is not seen
FEWEST = 4  # pixels of a stretch in a ring, to be looked at


@dataclass(frozen=True, eq=False)
class WithEffects:
    """The masks, object by object, with what each object does, and the effects alone, 1 where there is one.

    ``shares``: for each picture, how large its effects are, as a part of its masks; 0 where nothing was found.
    """

    masks: Float[Tensor, "b n h w"]
    effect: Float[Tensor, "b 1 h w"]
    shares: tuple[float, ...]


def add_effects(image: Tensor, mask: Tensor) -> WithEffects:
    """Grow each mask by the effects of the object that it covers; where none is found it stays as it was.

    image: RGB in [0, 1], or RGB and straight alpha, ``[b, 3 or 4, h, w]``; values beyond [0, 1] are clipped.  mask: any
    of ComfyUI's shapes, 1 where to erase, one for all pictures or one each; several for a single picture are as many
    objects.  An effect is never part of another object's mask.  Raises ValueError for a picture or a mask that does
    not fit.
    """
    check_picture(image)
    objects = as_objects(mask, *image.shape[-2:], frames=len(image)).cpu().expand(len(image), -1, -1, -1)
    seen = visible(image).clamp(0, 1).double().cpu().permute(0, 2, 3, 1).numpy()
    found = [
        torch.from_numpy(np.stack([effect_of(picture, one, masks.any(0)) for one in masks])).float()
        for picture, masks in zip(seen, objects.numpy() > 0, strict=True)
    ]
    effect = torch.stack([one.amax(0, keepdim=True) for one in found])
    covered = objects.amax(1).sum((1, 2)).clamp_min(1)
    shares = tuple((effect.sum((1, 2, 3)) / covered).tolist())
    return WithEffects(torch.maximum(objects, torch.stack(found)), effect, shares)


def effect_of(
    picture: Float[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], hidden: Bool[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """Where the parts of a mask have shadows beyond it; ``hidden`` is what is covered by any mask, and no ground."""
    effect = np.zeros_like(mask)
    labels, _ = ndimage.label(mask, NEIGHBOURS)
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        size = float((labels[place] == number).sum()) ** 0.5
        window = around(place, round(REACH * size) + 3)
        here = Surroundings.of(picture[window], labels[window] == number, hidden[window])
        if here.rings and here.ground.any():
            effect[window] |= soft_shadow_of(here) | hard_shadow_of(here)
    return effect & ~hidden


def soft_shadow_of(here: Surroundings) -> Bool[np.ndarray, "h w"]:
    """Where one object has a soft shadow: from each stretch of its outline as far as brightness rises."""
    rings, ring = here.rings, np.ceil(here.distance / here.width).astype(int)
    cells = np.where(here.ground, here.sector * rings + ring, 0)
    brightness = middle(here.brightness, cells, rings)
    told = brightness[here.sector, np.clip(ring, 1, rings) - 1]
    texture = middle(np.abs(here.brightness - told), cells, rings)
    colour = np.stack([middle(here.chromaticity[..., channel], cells, rings) for channel in range(3)], -1)
    ends = np.array([end_of_rise(*one) for one in zip(brightness, colour, texture, strict=True)], dtype=float)
    ends = ndimage.gaussian_filter1d(ndimage.median_filter(ends, 7, mode="wrap"), 1, mode="wrap")
    return here.distance <= ends[here.sector] * here.width


def middle(values: Float[np.ndarray, "h w"], cells: np.ndarray, rings: int) -> Float[np.ndarray, "sectors rings"]:
    """The median of a value in each stretch and ring, then the middle one of three neighbouring stretches.

    NaN where there are too few pixels in all three.
    """
    numbers = np.arange(1, SECTORS * rings + 1)
    medians = ndimage.median(values, cells, numbers).reshape(SECTORS, rings)
    medians[np.bincount(cells.ravel(), minlength=len(numbers) + 1)[1:].reshape(SECTORS, rings) < FEWEST] = np.nan
    three = np.sort([np.roll(medians, step, 0) for step in (-1, 0, 1)], axis=0)  # NaN comes last
    place = np.maximum(np.isfinite(three).sum(0) - 1, 0) // 2
    return np.take_along_axis(three, place[None], 0)[0]


def end_of_rise(
    brightness: Float[np.ndarray, "rings"], colour: Float[np.ndarray, "rings 3"], texture: Float[np.ndarray, "rings"]
) -> int:
    """The ring up to which brightness rises from the outline; 0 where it does not, or by too little to be seen.

    ``texture`` is how much brightness differs within a ring: a rise by less than that may be the ground's own.
    """
    highest, end, over = brightness[0], 0, 0
    for ring in range(1, len(brightness)):
        if not np.isfinite(brightness[ring] - highest):
            break
        if brightness[ring] - highest > JUMP or np.abs(colour[ring] - colour[0]).sum() > COLOUR:
            over += 1
            if over > MARKING:
                break
        elif brightness[ring] > highest + RISE:
            highest, end, over = brightness[ring], ring, 0
        elif ring - end >= LEVEL + over:
            break
    return end if highest - brightness[0] >= max(SEEN, float(np.median(texture[: end + 1]))) else 0
