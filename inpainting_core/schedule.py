"""How a picture becomes noise: what every such path has, Stable Diffusion's, and the timesteps that samplers visit.

Two notations meet in Stable Diffusion's.  Training adds noise as ``sqrt(abar) x0 + sqrt(1 - abar) noise``;
samplers move in ``x0 + sigma noise`` (Karras et al. 2022), where ``sigma = sqrt((1 - abar) / abar)``.
The other path is ``flow.RectifiedFlow``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inpainting_core.shapes import Float, Int

PREDICTIONS = ("epsilon", "v_prediction")


class Path(ABC):
    """A clean picture's way to noise in ``steps`` timesteps.

    ``signal[t]`` is the picture's share of the variance, the rest is noise's; ``sigmas[t]`` is the level of noise that
    samplers count in.  Both ``[steps]``.
    """

    steps: int
    signal: Float[Tensor, "steps"]
    sigmas: Float[Tensor, "steps"]

    def sigmas_for(self, timesteps: tuple[int, ...]) -> Float[Tensor, "n"]:
        """Noise levels of a sampler's timesteps, with the final 0 appended."""
        if not timesteps or not all(0 <= t < self.steps for t in timesteps):
            raise ValueError(f"timesteps must lie in 0..{self.steps - 1}, got {timesteps}.")
        return torch.cat([self.sigmas[list(timesteps)], torch.zeros(1)])

    def timestep_of(self, sigma: Float[Tensor, "b"]) -> Int[Tensor, "b"]:
        """The timestep whose noise level is nearest on a logarithmic scale."""
        distance = sigma.log()[:, None] - self.sigmas.log().to(sigma)[None]
        return distance.abs().argmin(1)

    @abstractmethod
    def add_noise(self, clean: Tensor, noise: Tensor, signal: Float[Tensor, "b"]) -> Tensor:
        """What a network is shown, at each sample's share of the picture."""

    @abstractmethod
    def learned(self, clean: Tensor, noise: Tensor) -> Tensor:
        """What a network gives where clean picture and noise are these; losses hold it against that."""

    @abstractmethod
    def jump_gap(self, signal_t: Float[Tensor, "b"], signal_s: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
        """Where a jump from t to s takes d from the clean picture, a network has to give d / gap more."""

    @abstractmethod
    def jump_weight(self, signal_t: Float[Tensor, "b"], signal_s: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
        """What a squared error of the network at t costs at s, after a deterministic jump."""

    @abstractmethod
    def noised(self, clean: Tensor, noise: Tensor, sigma: Float[Tensor, ""]) -> Tensor:
        """A sampler's state: the picture noised to a level."""

    @abstractmethod
    def shown(self, x: Tensor, sigma: Float[Tensor, ""]) -> Tensor:
        """What a network is shown of a sampler's state: the two notations' difference."""


@dataclass(frozen=True)
class Schedule(Path):
    """Stable Diffusion's path, which preserves the variance: scaled-linear, 1000 steps, betas 0.00085 to 0.012.

    ``signal[t]`` is the paper's abar_t, ``sigmas[t]`` the noise level of ``x0 + sigma noise``; both fp32.  Losses see
    networks give the noise, whatever they predict (``noise_from``).
    """

    beta_start: float = 0.00085
    beta_end: float = 0.012
    steps: int = 1000
    signal: Float[Tensor, "steps"] = field(init=False, repr=False, compare=False)
    sigmas: Float[Tensor, "steps"] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        betas = torch.linspace(self.beta_start**0.5, self.beta_end**0.5, self.steps, dtype=torch.float64).square()
        signal = (1 - betas).cumprod(0)
        object.__setattr__(self, "signal", signal.float())
        object.__setattr__(self, "sigmas", ((1 - signal) / signal).sqrt().float())

    def add_noise(self, clean: Tensor, noise: Tensor, signal: Float[Tensor, "b"]) -> Tensor:
        return add_noise(clean, noise, signal)

    def learned(self, clean: Tensor, noise: Tensor) -> Tensor:
        return noise

    def jump_gap(self, signal_t: Float[Tensor, "b"], signal_s: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
        """sigma_t - sigma_s."""
        return ((1 - signal_t) / signal_t).sqrt() - ((1 - signal_s) / signal_s).sqrt()

    def jump_weight(self, signal_t: Float[Tensor, "b"], signal_s: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
        """abar_s (sigma_t - sigma_s)^2."""
        return signal_s * self.jump_gap(signal_t, signal_s).square()

    def noised(self, clean: Tensor, noise: Tensor, sigma: Float[Tensor, ""]) -> Tensor:
        return clean + sigma * noise

    def shown(self, x: Tensor, sigma: Float[Tensor, ""]) -> Tensor:
        return x / (1 + sigma**2).sqrt()


def trailing_timesteps(steps: int, strength: float = 1.0, total: int = 1000) -> tuple[int, ...]:
    """Evenly spaced timesteps that end at the noisiest one (Lin et al. 2023, "trailing"), highest first.

    ``strength`` below 1 skips the noisiest part: the path starts at the first timestep not above it.
    Raises ValueError where nothing is left to do.
    """
    if not 1 <= steps <= total:
        raise ValueError(f"steps must lie in 1..{total}, got {steps}.")
    if not 0 < strength <= 1:
        raise ValueError(f"strength must lie in (0, 1], got {strength}.")
    kept = max(1, round(steps * strength))
    every = [round(total - k * total / steps) - 1 for k in range(steps)]
    return tuple(every[steps - kept :])


def add_noise(
    clean: Float[Tensor, "b *dims"], noise: Float[Tensor, "b *dims"], signal: Float[Tensor, "b"]
) -> Float[Tensor, "b *dims"]:
    """``sqrt(abar) x0 + sqrt(1 - abar) noise``, with abar given for each sample."""
    signal = per_sample(signal, clean)
    return signal.sqrt() * clean + (1 - signal).sqrt() * noise


def target_of(
    prediction: str, clean: Float[Tensor, "b *dims"], noise: Float[Tensor, "b *dims"], signal: Float[Tensor, "b"]
) -> Float[Tensor, "b *dims"]:
    """What a network learns to give: the noise, or v = sqrt(abar) noise - sqrt(1 - abar) x0 (Salimans & Ho 2022)."""
    if prediction == "epsilon":
        return noise
    signal = per_sample(signal, clean)
    return signal.sqrt() * noise - (1 - signal).sqrt() * clean


def denoised_from(
    prediction: str, output: Float[Tensor, "b *dims"], noisy: Float[Tensor, "b *dims"], signal: Float[Tensor, "b"]
) -> Float[Tensor, "b *dims"]:
    """x0 from a network's output at ``noisy = sqrt(abar) x0 + sqrt(1 - abar) noise``."""
    signal = per_sample(signal, noisy)
    if prediction == "epsilon":
        return (noisy - (1 - signal).sqrt() * output) / signal.sqrt()
    return signal.sqrt() * noisy - (1 - signal).sqrt() * output


def noise_from(
    prediction: str, output: Float[Tensor, "b *dims"], noisy: Float[Tensor, "b *dims"], signal: Float[Tensor, "b"]
) -> Float[Tensor, "b *dims"]:
    """The noise from a network's output, the twin of ``denoised_from``."""
    if prediction == "epsilon":
        return output
    signal = per_sample(signal, noisy)
    return signal.sqrt() * output + (1 - signal).sqrt() * noisy


def per_sample(values: Float[Tensor, "b"], like: Float[Tensor, "b *dims"]) -> Tensor:
    """One number a sample, shaped so that it multiplies the samples of ``like``; in its dtype, on its device."""
    return values.to(like).reshape(-1, *[1] * (like.ndim - 1))
