"""Rectified flow (Liu et al. 2022), the path of FLUX, SD3 and Qwen-Image: a straight line from picture to noise.

A state is ``(1 - s) x0 + s noise``, for networks and for samplers alike, and a network learns the velocity along the
line, ``noise - x0``.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from inpainting_core.schedule import Path, per_sample
from inpainting_core.shapes import Float


@dataclass(frozen=True)
class RectifiedFlow(Path):
    """Timestep t lies at s = (t + 1) / steps, so that the last one is pure noise.

    ``sigmas`` are s, in fp32; ``signal`` is (1 - s)^2 / ((1 - s)^2 + s^2), in fp64, for s is found from it again.
    """

    steps: int = 1000
    signal: Float[Tensor, "steps"] = field(init=False, repr=False, compare=False)
    sigmas: Float[Tensor, "steps"] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        s = torch.arange(1, self.steps + 1, dtype=torch.float64) / self.steps
        object.__setattr__(self, "signal", (1 - s).square() / ((1 - s).square() + s.square()))
        object.__setattr__(self, "sigmas", s.float())

    def add_noise(self, clean: Tensor, noise: Tensor, signal: Float[Tensor, "b"]) -> Tensor:
        s = per_sample(level(signal), clean)
        return (1 - s) * clean + s * noise

    def learned(self, clean: Tensor, noise: Tensor) -> Tensor:
        return noise - clean

    def jump_gap(self, signal_t: Float[Tensor, "b"], signal_s: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
        """(s - u) / (1 - u) for a jump from s to u."""
        before, after = level(signal_t), level(signal_s)
        return (before - after) / (1 - after)

    def jump_weight(self, signal_t: Float[Tensor, "b"], signal_s: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
        """(s - u)^2 for a jump from s to u."""
        return (level(signal_t) - level(signal_s)).square()

    def noised(self, clean: Tensor, noise: Tensor, sigma: Float[Tensor, ""]) -> Tensor:
        return (1 - sigma) * clean + sigma * noise

    def shown(self, x: Tensor, sigma: Float[Tensor, ""]) -> Tensor:
        return x


def level(signal: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
    """s from the picture's share of the variance."""
    picture, noise = signal.sqrt(), (1 - signal).sqrt()
    return noise / (picture + noise)


def denoised_by(velocity: Float[Tensor, "b *dims"], noisy: Float[Tensor, "b *dims"], s: Float[Tensor, "b"]) -> Tensor:
    """x0 from a velocity at ``noisy = (1 - s) x0 + s noise``."""
    return noisy - per_sample(s, noisy) * velocity
