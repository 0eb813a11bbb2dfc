"""CFD, the context-aware feature deviation (OmniPaint, Yu et al. 2025): is a fill like its surroundings and of a piece?

Lower is better.  Two terms for each connected part of the hole: how far its features are from those of the ring around
it, and how far each thing that SAM finds wholly inside is from what reaches in beside it.
The published code takes other tokens than those under the mask; the right ones are the default, its own a flag.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.masks import bounding_boxes, components, dilate
from inpainting_core.shapes import Bool, Float, Int

SIDE_PX = 224  # of the pictures that the features are found in
SAME = 0.8  # intersection over union from which two segments are one
CONTAINED = 0.9  # share of a segment in a larger one from which it is left out
REACH_PX = 6  # three dilations by 5 x 5: segments so near are neighbours

Features = Callable[[Tensor], Tensor]  # [1, 3, 224, 224] RGB in [0, 1] -> tokens [1, 1 + side * side, c], CLS first
Choice = Callable[[Tensor, int], Tensor]  # a mask [h, w] and the tokens' side -> indices of tokens


def cfd(
    image: Float[Tensor, "1 3 h w"],
    mask: Float[Tensor, "1 1 h w"],
    features: Features,
    segments: Bool[Tensor, "n h w"],
    published: bool = False,
) -> Float[Tensor, ""]:
    """CFD of one erased picture in [0, 1]; mask is 1 in the hole, ``segments`` are SAM's masks of the whole picture.

    ``features`` and ``segments`` come from ``context_features``, or from any network that gives the same; say which.
    ``published`` chooses tokens as the published code does, for numbers beside its own; give ``dinov2_features`` the
    same.
    Raises ValueError for a mask without hole or without surroundings.
    """
    if not 0 < mask.mean() < 1:
        raise ValueError(f"mask must hold a hole and leave surroundings, got one whose mean is {float(mask.mean())}.")
    parts, kept = components(mask), distinct(segments.cpu())
    choices = AS_PUBLISHED if published else AS_MEANT
    scores = [_deviation(image, parts == number, features, kept, choices) for number in range(1, int(parts.max()) + 1)]
    return torch.stack(scores).mean()


def distinct(segments: Bool[Tensor, "n h w"]) -> Bool[Tensor, "k h w"]:
    """The segments from large to small, without those that repeat or lie in a larger one that was kept."""
    areas = segments.sum((1, 2))
    order = areas.argsort(descending=True, stable=True)
    order = order[areas[order] > 0]
    flat, areas = segments[order].flatten(1).float(), areas[order].float()
    shared, kept = flat @ flat.T, []
    for i in range(len(order)):
        union = areas[i] + areas[kept] - shared[i, kept]
        if not ((shared[i, kept] / union > SAME) | (shared[i, kept] / areas[i] > CONTAINED)).any():
            kept.append(i)
    return segments[order[kept]]


def ring(part: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """The part's box, larger by a third of its sides in every direction (at least a pixel), without the part."""
    top, left, bottom, right = bounding_boxes(part.int())[0]
    down, across = max(1, (bottom - top) // 3), max(1, (right - left) // 3)
    box = torch.zeros_like(part)
    # the far edges are inclusive in the published code
    box[max(0, top - down) : bottom + down + 1, max(0, left - across) : right + across + 1] = True
    return box & ~part


def _deviation(
    image: Float[Tensor, "1 3 h w"],
    part: Bool[Tensor, "h w"],
    features: Features,
    segments: Bool[Tensor, "n h w"],
    choices: "Choices",
) -> Float[Tensor, ""]:
    """The score of one connected part of the hole."""
    # 1. the part against the ring around it, both in the whole picture
    tokens = _tokens(image, features)
    score = _distance(_mean(tokens, part, choices.whole), _mean(tokens, ring(part), choices.whole))
    # 2. each thing wholly inside against what reaches in beside it, each cut out on white; weighed by area
    inside = ~(segments & ~part).any(2).any(1)
    centres, reaching = segments[inside], segments[~inside] & part
    for centre in centres:
        beside = reaching[(reaching & _near(centre)).any(2).any(1)]
        if not len(beside):
            continue
        weight = centre.sum() / centres.sum()
        boundary = _of_crop(image, beside.any(0), features, choices.boundary)
        score = score + weight * _distance(boundary, _of_crop(image, centre, features, choices.centre))
    return score


def _near(segment: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    grown = dilate(segment[None, None].float(), REACH_PX)
    return grown[0, 0] > 0


def _of_crop(
    image: Float[Tensor, "1 3 h w"], mask: Bool[Tensor, "h w"], features: Features, choose: Choice
) -> Float[Tensor, "c"]:
    top, left, bottom, right = bounding_boxes(mask.int())[0]
    on_white = image.where(mask.to(image.device), 1.0)[..., top:bottom, left:right]
    return _mean(_tokens(on_white, features), mask[top:bottom, left:right], choose)


@torch.no_grad()
def _tokens(image: Float[Tensor, "1 3 h w"], features: Features) -> Float[Tensor, "n c"]:
    """The picture's tokens at 224 x 224, each of length 1.  Raises ValueError for tokens that are no square and one."""
    seen = F.interpolate(image, (SIDE_PX, SIDE_PX), mode="bicubic", antialias=True).clamp(0, 1)
    tokens = F.normalize(features(seen)[0].float().cpu(), dim=-1)
    if math.isqrt(len(tokens) - 1) ** 2 != len(tokens) - 1:
        raise ValueError(f"features must give one token and then a square of them, got {len(tokens)} tokens.")
    return tokens


def _mean(tokens: Float[Tensor, "n c"], mask: Bool[Tensor, "h w"], choose: Choice) -> Float[Tensor, "c"]:
    return F.normalize(tokens[choose(mask, math.isqrt(len(tokens) - 1))].mean(0), dim=0)


def _distance(one: Float[Tensor, "c"], other: Float[Tensor, "c"]) -> Float[Tensor, ""]:
    return 1 - (one * other).sum()


@dataclass(frozen=True)
class Choices:
    """Which tokens a mask stands for: in the whole picture, in a boundary's crop, in a centre's crop."""

    whole: Choice
    boundary: Choice
    centre: Choice


def under(mask: Bool[Tensor, "h w"], side: int) -> Int[Tensor, "k"]:
    """The tokens of the patches under the mask, by nearest sampling; of those it touches where that meets none."""
    cells = _nearest(_nearest(mask[None, None].float(), SIDE_PX), side)
    if not cells.any():
        cells = F.adaptive_max_pool2d(mask[None, None].float(), side)
    return cells.flatten().nonzero()[:, 0] + 1


def one_too_early(mask: Bool[Tensor, "h w"], side: int) -> Int[Tensor, "k"]:
    """As published: CLS is taken for the first patch, so that all shift by one, and the last patch is always there."""
    cells = _nearest(_nearest(mask[None, None].float(), SIDE_PX), side)
    return torch.cat([cells.flatten().nonzero()[:, 0], torch.tensor([side * side])])


def by_grey(mask: Bool[Tensor, "h w"], side: int) -> Int[Tensor, "k"]:
    """As published for a boundary: the 8-bit mask's grey values 0 and 255 are used as indices, and once a 1."""
    greys = _nearest(_nearest(mask[None, None].float() * 255, SIDE_PX), side)
    return torch.cat([greys.flatten().long(), torch.tensor([1])])


def by_smooth_grey(mask: Bool[Tensor, "h w"], side: int) -> Int[Tensor, "k"]:
    """As published for a centre: as ``by_grey``, but the mask is made 224 x 224 smoothly, with greys between."""
    grey = (mask[None, None] * 255).to(torch.uint8)
    smooth = F.interpolate(grey, (SIDE_PX, SIDE_PX), mode="bicubic", antialias=True)
    return torch.cat([_nearest(smooth.float(), side).flatten().long(), torch.tensor([1])])


def _nearest(mask: Float[Tensor, "1 1 h w"], side: int) -> Float[Tensor, "1 1 {side} {side}"]:
    return F.interpolate(mask, (side, side), mode="nearest-exact")


AS_MEANT = Choices(under, under, under)
AS_PUBLISHED = Choices(one_too_early, by_grey, by_smooth_grey)
