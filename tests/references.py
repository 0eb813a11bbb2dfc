"""Slow and obvious twins of the fast paths; tests hold the two together."""

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


def attend_with_dense_weights(q: Tensor, k: Tensor, v: Tensor, hole: Tensor, mode: str, weights: Tensor) -> Tensor:
    """Softmax attention in which each pair that the mode blocks counts ``weights[sample, key]`` times as much."""
    n = hole.shape[1]
    counts = torch.ones(len(hole), n, n, dtype=q.dtype)
    for sample, row in enumerate(hole):
        for i in range(n):
            for j in range(n):
                if row[j] and (mode == "strict" or row[i]):
                    counts[sample, i, j] = weights[sample, j]
    likeness = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).exp() * counts[:, None]
    return likeness / likeness.sum(-1, keepdim=True) @ v


def attend_with_dense_mask(q: Tensor, k: Tensor, v: Tensor, hole: Tensor, mode: str) -> Tensor:
    """EraDiff's eq. 11 with an additive mask of 0 and -inf, one n x n matrix a sample."""
    n = hole.shape[1]
    blocked = torch.zeros(len(hole), n, n, dtype=torch.bool)
    for sample, row in enumerate(hole):
        if row.all() or mode == "off":
            continue
        for i in range(n):
            for j in range(n):
                blocked[sample, i, j] = row[j] and (mode == "strict" or row[i])
    logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return logits.masked_fill(blocked[:, None], -math.inf).softmax(-1) @ v


def signal_by_loop(steps: int = 1000) -> list[float]:
    """abar_t by its definition: the product of 1 - beta_i, with betas that are linear in their square roots."""
    low, high, signal, product = 0.00085**0.5, 0.012**0.5, [], 1.0
    for i in range(steps):
        product *= 1 - (low + (high - low) * i / (steps - 1)) ** 2
        signal.append(product)
    return signal


def grow_by_loop(mask: Tensor, radius: float) -> Tensor:
    """Every pixel whose distance to some hole pixel is at most the radius; mask ``[h, w]``."""
    holes = mask.nonzero().tolist()
    grown = torch.zeros_like(mask)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            grown[y, x] = float(any(math.hypot(y - a, x - b) <= radius for a, b in holes))
    return grown


def reflect_by_walking(start: int, length: int, available: int) -> list[int]:
    """Positions met by walking from ``start`` through a picture whose ends are mirrors (without repeating the edge)."""
    positions = []
    for position in range(start, start + length):
        while not 0 <= position < available:
            position = -position if position < 0 else 2 * (available - 1) - position
        positions.append(position)
    return positions


def literal_chain_loss(predict_noise, z_original, z_object, noise, t, gamma, signal):
    """EraDiff's eq. 6 to 9 word for word, one sample at a time; ``signal`` is abar_t, ``t`` and ``gamma`` numbers."""
    before, after = signal[t], signal[t - gamma] if t >= gamma else torch.ones_like(signal[0])

    def mixed(abar):
        clean = abar * z_original + (1 - abar) * z_object  # lambda_t = 1 - abar_t
        return abar.sqrt() * clean + (1 - abar).sqrt() * noise

    predicted = predict_noise(mixed(before), t)
    denoised = (mixed(before) - (1 - before).sqrt() * predicted) / before.sqrt()
    jumped = after.sqrt() * denoised + (1 - after).sqrt() * predicted
    return (mixed(after) - jumped).square().mean()


def literal_flow_loss(predict_velocity, z_original, z_object, noise, t, gamma, steps=1000):
    """The same on a rectified flow, ``(1 - s) x0 + s noise``: an Euler step from s to u, one sample at a time."""
    s, u = (t + 1) / steps, max(t + 1 - gamma, 0) / steps

    def mixed(s):
        share = s**2 / ((1 - s) ** 2 + s**2)  # of the object as of the noise
        return (1 - s) * ((1 - share) * z_original + share * z_object) + s * noise

    jumped = mixed(s) + (u - s) * predict_velocity(mixed(s), t)
    return (mixed(u) - jumped).square().mean()


def membrane(values: torch.Tensor, known: torch.Tensor, sweeps: int = 4000) -> torch.Tensor:
    """The harmonic surface between known values: every other pixel is the mean of its four neighbours."""
    surface = values * known
    for _ in range(sweeps):
        padded = torch.nn.functional.pad(surface, (1, 1, 1, 1), mode="replicate")
        around = padded[..., 2:, 1:-1] + padded[..., :-2, 1:-1] + padded[..., 1:-1, 2:] + padded[..., 1:-1, :-2]
        surface = torch.where(known > 0, values, around / 4)
    return surface


def torus_convolution(noise: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
    """The sum over places of the noise there times the pattern moved there; what leaves on one side enters opposite."""
    made = torch.zeros_like(noise)
    for y in range(noise.shape[0]):
        for x in range(noise.shape[1]):
            made += noise[y, x] * pattern.roll((y, x), (0, 1))
    return made


def parts_by_planes(mask: Tensor, context: float, margin: int) -> int:
    """How many groups of parts there are: paint what must be seen of each, number what touches, until nothing joins."""
    labels, count = ndimage.label(mask.numpy() > 0, np.ones((3, 3)))
    while True:
        seen = np.zeros(labels.shape, dtype=bool)
        for rows, columns in ndimage.find_objects(labels):
            y = max(margin, math.ceil((rows.stop - rows.start) * context))
            x = max(margin, math.ceil((columns.stop - columns.start) * context))
            seen[max(0, rows.start - y) : rows.stop + y, max(0, columns.start - x) : columns.stop + x] = True
        joined, fewer = ndimage.label(seen, np.ones((3, 3)))
        if fewer == count:
            return count
        labels, count = joined * (labels > 0), fewer
