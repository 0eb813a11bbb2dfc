"""Slow and obvious oracles of the evaluation's metrics."""

import math

import numpy as np
import torch.nn.functional as F
from torch import Tensor


def rc_s_by_loop(image: Tensor, mask: Tensor, features) -> float:
    """RC-S, patch by patch, from PROVE's definition; for one part whose square lies inside the picture."""
    rows, columns = np.nonzero(mask[0, 0].numpy())
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    side = max(bottom - top, right - left)
    y, x = round((top + bottom) / 2 - side / 2), round((left + right) / 2 - side / 2)
    height, width = mask.shape[-2:]
    more = min(round(side / 3), x, y, width - x - side, height - y - side, side // 2)
    y, x, side = y - more, x - more, side + 2 * more
    crop, hole = image[..., y : y + side, x : x + side], mask[..., y : y + side, x : x + side]
    tokens = features(F.interpolate(crop, (448, 448), mode="bilinear"))[0, 1:].double()
    tokens = (tokens / tokens.norm(dim=1, keepdim=True)).view(32, 32, -1)
    inside = np.zeros((32, 32), bool)
    for row in range(448):
        for column in range(448):
            if hole[0, 0, row * side // 448, column * side // 448] > 0:
                inside[row // 14, column // 14] = True
    scores = []
    for row in range(0, 32 - 8 + 1, 4):
        for column in range(0, 32 - 8 + 1, 4):
            places = [(row + i, column + j) for i in range(8) for j in range(8)]
            one = [tokens[place].numpy() for place in places if inside[place]]
            other = [tokens[place].numpy() for place in places if not inside[place]]
            if len(one) > 5 and not other:
                other = [tokens[i, j].numpy() for i in range(32) for j in range(32) if not inside[i, j]]
            elif len(one) <= 5 or len(other) <= 5:
                continue
            scores.append(1000 * (kernel(one, one) + kernel(other, other) - 2 * kernel(one, other)))
    return math.exp(-max(0, np.mean(scores)) / 3)


def kernel(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return float(np.mean([np.exp(-((a - np.array(other)) ** 2).sum(1) / 200) for a in one]))


def kid_by_loop(one: np.ndarray, other: np.ndarray) -> float:
    """The unbiased squared MMD under (x.y / d + 1)^3 (Binkowski et al. 2018, eq. 4)."""
    n, d = one.shape

    def k(a, b):
        return (a @ b / d + 1) ** 3

    within = sum(k(x[i], x[j]) for x in (one, other) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return within - 2 * sum(k(a, b) for a in one for b in other) / n**2


def cmmd_by_loop(one: np.ndarray, other: np.ndarray) -> float:
    def mean(a, b):
        return np.mean([np.exp(-((x - y) ** 2).sum() / 200) for x in a for y in b])

    return 1000 * (mean(one, one) + mean(other, other) - 2 * mean(one, other))


def with_moments(count: int, mean: np.ndarray, spread: np.ndarray, seed: int) -> np.ndarray:
    """Samples that have exactly this mean and these standard deviations, uncorrelated."""
    drawn = np.random.default_rng(seed).normal(size=(count, len(mean)))
    drawn -= drawn.mean(0)
    whitened = drawn @ np.linalg.inv(np.linalg.cholesky(np.cov(drawn.T))).T
    return whitened * spread + mean
