"""What a finder of effects says of a whole picture: each part of a mask is looked at in a square around it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.masks import Box, bounding_boxes, components, grow
from inpainting_core.shapes import Float
from training.networks.effect_finder import EffectFinder, near

SEEN = 2.4  # of the longer side of a part's box: the side of the square that is looked at
SURE = 0.5  # probability from which a pixel is of an effect
TOUCHES = 0.03  # of the square's side, and 2 px: so near to the object an effect must come


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
