"""Slow and obvious twins of what completes a picture by copying; tests hold the two together."""

import math

import torch
from torch import Tensor


def places(hole: Tensor, side: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Top left pixels of the patches of ``[h, w]`` that hold no hole pixel, and of those that do."""
    height, width = hole.shape
    every = [(y, x) for y in range(height - side + 1) for x in range(width - side + 1)]
    touched = {(y, x): bool(hole[y : y + side, x : x + side].any()) for y, x in every}
    return [place for place in every if not touched[place]], [place for place in every if touched[place]]


def distance(picture: Tensor, one: tuple[int, int], other: tuple[int, int], side: int, light: float) -> float:
    """The squared distance of two patches of ``[c, h, w]``, of whose difference the mean counts ``light`` times."""
    (y, x), (v, u) = one, other
    apart = picture[:, y : y + side, x : x + side] - picture[:, v : v + side, u : u + side]
    return float((apart - (1 - light) * apart.mean((1, 2), keepdim=True)).square().sum())


def nearest_by_looking(
    picture: Tensor, hole: Tensor, side: int, light: float
) -> dict[tuple[int, int], tuple[int, int]]:
    """For each patch with some hole in it the known one that is most like it, each compared with each."""
    sources, targets = places(hole, side)
    return {t: min(sources, key=lambda s: distance(picture, t, s, side, light)) for t in targets}


def agreed_by_looping(
    picture: Tensor, hole: Tensor, field: dict[tuple[int, int], tuple[int, int]], far: dict, side: int, agreement: float
) -> Tensor:
    """Each hole pixel of ``[c, h, w]`` the weighted mean of what the copied patches over it have there."""
    made = picture.clone()
    for y, x in hole.nonzero().tolist():
        over = [(y - i, x - j) for i in range(side) for j in range(side) if (y - i, x - j) in field]
        mean, best = sum(far[t] for t in over) / len(over), min(far[t] for t in over)
        weights = [math.exp(-agreement * (far[t] - best) / mean) for t in over]
        copies = [picture[:, field[t][0] + y - t[0], field[t][1] + x - t[1]] for t in over]
        made[:, y, x] = sum(w * copy for w, copy in zip(weights, copies, strict=True)) / sum(weights)
    return made


def peeled_by_looping(picture: Tensor, hole: Tensor, side: int, voters: int) -> Tensor:
    """The hole of ``[c, h, w]`` filled ring by ring, each pixel the median of the patches most like what is known
    around it."""
    made, open_ = picture.clone(), hole.clone()
    (height, width), (sources, _) = hole.shape, places(hole, side)
    while open_.any():
        padded = torch.nn.functional.pad(open_, (1, 1, 1, 1), value=1)
        ring = [(y, x) for y, x in open_.nonzero().tolist() if not padded[y : y + 3, x : x + 3].all()]
        values = {}
        for y, x in ring:
            top, left = min(max(y - side // 2, 0), height - side), min(max(x - side // 2, 0), width - side)
            seen = 1 - open_[top : top + side, left : left + side]
            here = made[:, top : top + side, left : left + side]
            like = [float((seen * (here - made[:, v : v + side, u : u + side]).square()).sum()) for v, u in sources]
            best = sorted(range(len(sources)), key=lambda i: like[i])[:voters]
            votes = [made[:, sources[i][0] + y - top, sources[i][1] + x - left] for i in best]
            values[y, x] = torch.stack(votes).sort(0).values[(len(votes) - 1) // 2]
        for (y, x), value in values.items():
            made[:, y, x], open_[y, x] = value, 0
    return made
