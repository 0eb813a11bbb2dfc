"""Join copies so that no seam shows between them: what a fill takes from each is how neighbouring pixels differ.

Two copies of one wall differ in light, and where they meet a step is left that neither has.  So the fill is the
picture whose steps from pixel to pixel are nearest to those of the copies, and which meets the known pixels at the
hole's edge (Pérez et al. 2003, Poisson image editing; Darabi et al. 2012, Image melding).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.masks import box_around
from inpainting_core.shapes import Float

HELD = 5e-3  # how much a pixel's own colour counts beside a step: what the edge says reaches some 14 px far
CYCLES = 6  # after which the fill is nearer than a level of 8 bits to where more of them would take it
SWEEPS, DAMPED = 2, 0.8  # of Jacobi's method before and after each coarser picture, and its damping


class Level(NamedTuple):
    """The hole at one size of the picture, and how much a pixel's own change counts in its ``pull`` there."""

    hole: Float[Tensor, "1 1 h w"]
    weight: Float[Tensor, "1 1 h w"]


def steps_of(picture: Float[Tensor, "1 c h w"]) -> Float[Tensor, "4 c h w"]:
    """How much higher the neighbour to the right, to the left, below and above is than a pixel; 0 beyond the frame."""
    return neighbours_of(picture, beyond="replicate") - picture


def joined(
    picture: Float[Tensor, "1 c h w"], steps: Float[Tensor, "4 c h w"], hole: Float[Tensor, "1 1 h w"]
) -> Float[Tensor, "1 c h w"]:
    """The picture with its hole changed so that pixels differ as ``steps`` says (``steps_of``); the rest as it is.

    The pixels of the hole say each how they should differ from their four neighbours; of two that disagree the mean
    holds.  hole: 1 inside, else 0.
    """
    top, left, bottom, right = box_around(hole)
    there = (..., slice(max(0, top - 1), bottom + 1), slice(max(0, left - 1), right + 1))
    box, steps, inside = picture[there], steps[there], hole[there]
    apart = neighbours_of(torch.ones_like(inside)) * (steps_of(box) - agreed_between(steps, inside))
    missing = inside * apart.sum(0, keepdim=True)
    levels, change = levels_of(inside), torch.zeros_like(box)
    for _ in range(CYCLES):
        change = change + correction(missing - pull(change, levels[0]), levels)
    made = picture.clone()
    made[there] = box + change
    return made


def agreed_between(steps: Float[Tensor, "4 c h w"], hole: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "4 c h w"]:
    """The steps, each the mean of what it is to a pixel and to its neighbour; a known neighbour has no say."""
    back = torch.cat([neighbours_of(steps[k : k + 1])[n : n + 1] for n, k in enumerate((1, 0, 3, 2))])
    return torch.where(neighbours_of(hole) > 0, (steps - back) / 2, steps)


def levels_of(hole: Float[Tensor, "1 1 h w"]) -> list[Level]:
    """The hole and its halves, as far as there are any; a coarser pixel is open where all that it stands for are.

    Each neighbour counts once, and what holds a pixel to its own colour four times as much for each half.
    """
    held, levels = HELD, [Level(hole, beside(torch.ones_like(hole)) + HELD)]
    while min(hole.shape[-2:]) > 2 and hole.any():
        hole, held = (F.avg_pool2d(hole, 2, ceil_mode=True) == 1).to(hole), 4 * held
        levels.append(Level(hole, beside(torch.ones_like(hole)) + held))
    return levels


def correction(missing: Float[Tensor, "1 c h w"], levels: list[Level]) -> Float[Tensor, "1 c h w"]:
    """About the change of the hole's pixels whose ``pull`` is what is missing: a V-cycle of multigrid."""
    here, coarser = levels[0], levels[1:]
    change = relaxed(DAMPED * here.hole * missing / here.weight, missing, here, SWEEPS - 1)
    if coarser:
        left = missing - pull(change, here)
        coarse = correction(4 * F.avg_pool2d(left, 2, ceil_mode=True), coarser)
        change = change + here.hole * F.interpolate(coarse, missing.shape[-2:], mode="bilinear")
    return relaxed(change, missing, here, SWEEPS)


def relaxed(change: Tensor, missing: Tensor, level: Level, sweeps: int) -> Tensor:
    """The change, nearer to what is missing by so many sweeps."""
    for _ in range(sweeps):
        change = change + DAMPED * level.hole * ((missing + beside(change)) / level.weight - change)
    return change


def pull(change: Float[Tensor, "1 c h w"], level: Level) -> Float[Tensor, "1 c h w"]:
    """By how much the pixels of the hole exceed their neighbours in sum, and what holds them to 0."""
    return level.hole * (level.weight * change - beside(change))


def beside(values: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c h w"]:
    """The sum of a pixel's four neighbours; 0 beyond the frame."""
    padded = F.pad(values, (1, 1, 1, 1))
    return padded[..., 1:-1, 2:] + padded[..., 1:-1, :-2] + padded[..., 2:, 1:-1] + padded[..., :-2, 1:-1]


def neighbours_of(values: Float[Tensor, "1 c h w"], beyond: str = "constant") -> Float[Tensor, "4 c h w"]:
    """What stands to the right, to the left, below and above of each pixel; 0 beyond the frame, or as in ``F.pad``."""
    padded = F.pad(values, (1, 1, 1, 1), mode=beyond)
    return torch.cat([padded[..., 1:-1, 2:], padded[..., 1:-1, :-2], padded[..., 2:, 1:-1], padded[..., :-2, 1:-1]])
