"""What an object does to the picture beyond its mask: the region of its shadow, its reflection and its colour.

Each connected part of a mask is looked at by itself, in a square around it, by a small network (``effect_finder``).
What it finds counts where it hangs on the object; a shadow on its own is taken for somebody else's.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.alpha import visible
from inpainting_core.effect_finder import EffectFinder, near
from inpainting_core.erasing import check_picture
from inpainting_core.masks import Box, as_objects, bounding_boxes, components, grow
from inpainting_core.shapes import Float

SEEN = 2.4  # of the longer side of a part's box: the side of the square that is looked at
SURE = 0.5  # probability from which a pixel is of an effect
TOUCHES = 0.03  # of the square's side, and 2 px: so near to the object an effect must come


@dataclass(frozen=True, eq=False)
class WithEffects:
    """The masks, object by object, with what each object does, and the effects alone, 1 where there is one.

    ``shares``: for each picture, how large its effects are, as a part of its masks; 0 where nothing was found.
    """

    masks: Float[Tensor, "b n h w"]
    effect: Float[Tensor, "b 1 h w"]
    shares: tuple[float, ...]


def add_effects(finder: EffectFinder, image: Float[Tensor, "b c h w"], mask: Tensor) -> WithEffects:
    """Grow each mask by the effects of the object that it covers; where none is found it stays as it was.

    image: RGB in [0, 1], or RGB and straight alpha; values beyond [0, 1] are clipped.  mask: any of ComfyUI's shapes,
    1 where to erase, one for all pictures or one each; several for a single picture are as many objects.  An effect
    is never part of another object's mask.  Raises ValueError for a picture or a mask that does not fit.
    """
    check_picture(image)
    objects = as_objects(mask, *image.shape[-2:], frames=len(image)).cpu().expand(len(image), -1, -1, -1)
    seen = visible(image).clamp(0, 1).float().cpu()
    grown, effects, shares = [], [], []
    for picture, masks in zip(seen.split(1), objects, strict=True):
        free = 1 - masks.amax(0, keepdim=True)
        found = torch.cat([effect_of(finder, picture, one[None, None])[0] for one in masks]) * free
        effect = found.amax(0, keepdim=True)
        grown.append(torch.maximum(masks, found))
        effects.append(effect)
        shares.append(float(effect.sum() / masks.amax(0).sum().clamp_min(1)))
    return WithEffects(torch.stack(grown), torch.stack(effects), tuple(shares))


@torch.no_grad()
def effect_of(
    finder: EffectFinder, image: Float[Tensor, "1 3 h w"], mask: Float[Tensor, "1 1 h w"]
) -> Float[Tensor, "1 1 h w"]:
    """1 where the object's effects are, beyond its mask; on the CPU."""
    labels, effect = components(mask), torch.zeros_like(mask)
    for number, box in enumerate(bounding_boxes(labels), 1):
        window = square_around(box)
        part = look_at((labels == number).to(mask)[None, None], window, pad="constant")
        sure = (probability(finder, look_at(image, window, pad="replicate"), part) >= SURE).to(mask) * (1 - part)
        found = hanging(sure, grow(part, 2 + TOUCHES * part.shape[-1]))
        lay(found, window, effect)
    return effect * (1 - mask)


def square_around(box: Box) -> Box:
    """The square that is looked at for a part in this box; it may reach beyond the picture."""
    top, left, bottom, right = box
    side = max(8, round(SEEN * max(bottom - top, right - left)))
    y, x = (top + bottom - side) // 2, (left + right - side) // 2
    return y, x, y + side, x + side


def look_at(plane: Float[Tensor, "1 c h w"], window: Box, pad: str) -> Float[Tensor, "1 c s s"]:
    """The window of a picture; ``pad`` is what lies beyond the picture: "replicate" its edge, "constant" 0."""
    top, left, bottom, right = window
    height, width = plane.shape[-2:]
    beyond = max(0, -left), max(0, right - width), max(0, -top), max(0, bottom - height)
    inside = plane[..., max(0, top) : bottom, max(0, left) : right]
    return F.pad(inside, beyond, mode=pad)


def lay(found: Float[Tensor, "1 1 s s"], window: Box, onto: Float[Tensor, "1 1 h w"]) -> None:
    """The inverse of ``look_at``, in place: what is 1 in the window becomes 1 in the picture."""
    top, left, bottom, right = window
    height, width = onto.shape[-2:]
    there = onto[..., max(0, top) : bottom, max(0, left) : right]
    torch.maximum(there, found[..., max(0, -top) : height - top, max(0, -left) : width - left], out=there)


def probability(
    finder: EffectFinder, square: Float[Tensor, "1 3 s s"], part: Float[Tensor, "1 1 s s"]
) -> Float[Tensor, "1 1 s s"]:
    """How probably each pixel of a square is of an effect, looked at in the network's own size."""
    size = (finder.config.side, finder.config.side)
    small = F.interpolate(square, size, mode="bilinear", antialias=True)
    mask = (F.interpolate(part, size, mode="bilinear", antialias=True) >= 0.5).float()
    logits = finder(small, mask, near(mask))
    return F.interpolate(logits, square.shape[-2:], mode="bilinear", antialias=True).sigmoid()


def hanging(found: Float[Tensor, "1 1 s s"], touched: Float[Tensor, "1 1 s s"]) -> Float[Tensor, "1 1 s s"]:
    """The connected parts of what was found that come into what is touched."""
    labels = components(found)
    kept = labels[(touched[0, 0] > 0) & (labels > 0)].unique()
    return torch.isin(labels, kept).to(found)[None, None] * found
