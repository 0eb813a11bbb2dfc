"""RC-S, spatial regional coherence (PROVE, arXiv 2605.14534): do the hole's patches look like those around it?

For each part of the hole a square around it is seen by DINOv2.  A window slides over its patches; in each window those
of the hole are held against those outside by their maximum mean discrepancy.  1 is alike; the published network is
``facebook/dinov2-giant``.  Written from the published definition; its numbers are the defaults below.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from evaluation.scorer import HIGHER, Column, Scorer
from evaluation.weights import folder_of, hash_of
from inpainting_core.masks import Box, bounding_boxes
from inpainting_core.shapes import Bool, Float
from yoeo_core.context_features import dinov2_features

SIDE_PX = 448  # what a square is brought to: 32 x 32 patches of 14
WINDOW, STRIDE = 16, 8  # patches of a grid of 64 a side; in proportion on other grids
LEAST = 5  # a window counts with more patches than these on either side
LEAST_AREA_PX = 200  # smaller parts are passed over, unless all are
SIGMA, SCALE, TAU = 10.0, 1000.0, 3.0

Features = Callable[[Tensor], Tensor]


def rc_s(image: Float[Tensor, "1 3 h w"], mask: Float[Tensor, "1 1 h w"], features: Features) -> float:
    """RC-S of one picture in [0, 1]; NaN where no window counts.  ``features`` as for ``yoeo_core.cfd``."""
    labels, _ = ndimage.label(mask[0, 0].cpu().numpy() > 0)  # parts that touch by a corner are two
    areas = np.bincount(labels.ravel())[1:]
    boxes = bounding_boxes(torch.from_numpy(labels))
    least = min(LEAST_AREA_PX, areas.max())
    scores = [
        of_square(image, mask, square_around(box, mask.shape[-2:]), features)
        for box, area in zip(boxes, areas, strict=True)
        if area >= least
    ]
    return sum(scores) / len(scores)


def square_around(box: Box, size: tuple[int, int]) -> Box:
    """The square around a box with a third of its side more all round, or as much as the nearest edge leaves."""
    top, left, bottom, right = box
    side = max(bottom - top, right - left)
    y, x = (round((start + end - side) / 2) for start, end in ((top, bottom), (left, right)))
    room = min(round(side / 3), x, y, size[1] - x - side, size[0] - y - side, side // 2)
    more = max(room, 0)
    side = min(side + 2 * more, *size)
    y, x = (max(0, min(max(0, start - more), length - side)) for start, length in ((y, size[0]), (x, size[1])))
    return y, x, y + side, x + side


@torch.no_grad()
def of_square(image: Tensor, mask: Tensor, square: Box, features: Features) -> float:
    top, left, bottom, right = square
    seen, hole = (x[..., top:bottom, left:right] for x in (image, mask))
    seen = F.interpolate(seen, (SIDE_PX, SIDE_PX), mode="bilinear")
    tokens = F.normalize(features(seen)[0, 1:].float().cpu(), dim=-1)
    grid = math.isqrt(len(tokens))
    hole = F.interpolate(hole.float().cpu(), (SIDE_PX, SIDE_PX), mode="nearest")
    inside = F.adaptive_max_pool2d(hole, grid)[0, 0] > 0
    apart = [mmd(*pair) for pair in windows(tokens.view(grid, grid, -1), inside)]
    if not apart:
        return math.nan
    return math.exp(-max(0.0, sum(apart) / len(apart)) / TAU)


def windows(tokens: Float[Tensor, "n n c"], inside: Bool[Tensor, "n n"]) -> list[tuple[Tensor, Tensor]]:
    """The tokens of the hole and around it in each window; where a window is all hole, those of the whole square."""
    grid, everywhere, found = len(inside), tokens[~inside], []
    side, stride = max(1, int(WINDOW * grid / 64)), max(1, int(STRIDE * grid / 64))
    for y in range(0, grid - side + 1, stride):
        for x in range(0, grid - side + 1, stride):
            here = (slice(y, y + side), slice(x, x + side))
            hole, outside = tokens[here][inside[here]], tokens[here][~inside[here]]
            if len(hole) > LEAST and len(outside) > LEAST:
                found.append((hole, outside))
            elif len(hole) > LEAST and not len(outside) and len(everywhere):
                found.append((hole, everywhere))
    return found


def mmd(one: Float[Tensor, "n c"], other: Float[Tensor, "m c"]) -> float:
    """Squared maximum mean discrepancy under a Gaussian kernel, with every pair counted, times ``SCALE``."""

    def alike(a: Tensor, b: Tensor) -> Tensor:
        return (-torch.cdist(a, b).square() / (2 * SIGMA**2)).exp().mean()

    one, other = one.double(), other.double()
    return SCALE * float(alike(one, one) + alike(other, other) - 2 * alike(one, other))


def regional_coherence(dinov2: Path | None, device: str) -> Scorer:
    """Raises Absent where no DINOv2 was given."""
    folder = folder_of("--dinov2", dinov2, "facebook/dinov2-giant")
    features = dinov2_features(folder, device)
    made_by = {"network": f"DINOv2, {folder.name}", "weights": hash_of(folder), "side_px": SIDE_PX, "window": WINDOW}
    made_by |= {"stride": STRIDE, "sigma": SIGMA, "tau": TAU, "least_area_px": LEAST_AREA_PX}
    columns = {"rc_s": Column(HIGHER, "the hole's patches are like those around it; 1 is alike")}
    return Scorer("rc_s", columns, lambda scene: {"rc_s": rc_s(scene.result, scene.mask, features)}, made_by)
