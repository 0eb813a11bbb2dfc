"""Chain-Rectifying Optimization (EraDiff, section 4.1): the path on which an object fades while the noise leaves.

The clean picture behind the noise is a mix, ``(1 - lambda_t) original + lambda_t object`` (eq. 6) with lambda_t rising
from 0 to 1 as the noise does.  The network is trained so that a deterministic DDIM jump from t to s = t - gamma (eq. 8)
lands on the mix of s, under the same noise (eq. 9).

Written out, that jump's squared error is exactly ``w |predicted noise - (noise + kappa (object - original))|^2`` with

    kappa = (lambda_t - lambda_s) / (sigma_t - sigma_s)        w = abar_s (sigma_t - sigma_s)^2

where ``sigma = sqrt((1 - abar) / abar)``: ordinary noise prediction on a mixed picture, its target shifted inside the
pasted object.  This form is the one computed here, since it divides by nothing small.

On a rectified flow, ``(1 - s) x0 + s noise``, a network predicts the velocity ``noise - x0``, and the jump from s to u
is ``x + (u - s) velocity``.  Its error is w times the velocity's from ``noise - mix + kappa (object - original)`` with

    kappa = (1 - u) (lambda_s - lambda_u) / (s - u)            w = (s - u)^2

and lambda by the same rule: the object's share is noise's share of the variance, ``s^2 / (s^2 + (1 - s)^2)``.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from inpainting_core.schedule import Path, per_sample
from inpainting_core.shapes import Float, Int

GAMMA_MAX = 100  # the paper's gamma_m: the longest jump in timesteps
TIGHTNESS = 0.1  # a jump drawn for an N-step sampler differs from that sampler's stride by at most this share

# How much of the object stands in the clean picture before and after a jump, from abar before and after.
MIXINGS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "schedule": lambda signal_t, signal_s: (1 - signal_t, 1 - signal_s),  # the paper's lambda_t = 1 - abar_t
    "constant": lambda signal_t, signal_s: (torch.ones_like(signal_t), torch.zeros_like(signal_s)),  # its ablation
    "none": lambda signal_t, signal_s: (torch.zeros_like(signal_t), torch.zeros_like(signal_s)),  # plain inpainting
}


def draw_jump(
    generator: torch.Generator, steps: int = 1000, gamma_max: int = GAMMA_MAX, sampler_steps: int | None = None
) -> tuple[int, int]:
    """A timestep t, uniform in 0..steps - 1, and a jump gamma, uniform in 1..gamma_max (Algorithm 1).

    With ``sampler_steps`` gamma is drawn tightly around the stride of a sampler of so many steps instead.
    """
    low, high = 1, gamma_max
    if sampler_steps is not None:
        stride = steps / sampler_steps
        low, high = max(1, round(stride * (1 - TIGHTNESS))), round(stride * (1 + TIGHTNESS))
    t, gamma = torch.randint(steps, (1,), generator=generator), torch.randint(low, high + 1, (1,), generator=generator)
    return int(t), int(gamma)


def signals(
    t: Int[Tensor, "b"], gamma: Int[Tensor, "b"], schedule: Path
) -> tuple[Float[Tensor, "b"], Float[Tensor, "b"]]:
    """abar before the jump and after it, in fp64; a jump beyond timestep 0 ends at the clean state, abar = 1."""
    clean_first = torch.cat([torch.ones(1, dtype=torch.float64), schedule.signal.double()]).to(t.device)
    return clean_first[t + 1], clean_first[(t - gamma + 1).clamp_min(0)]


def target_shift(
    signal_t: Float[Tensor, "b"], signal_s: Float[Tensor, "b"], schedule: Path, mixing: str = "schedule"
) -> Float[Tensor, "b"]:
    """kappa: how much of (object - original) the network's output must carry, so that the jump takes it away."""
    share_t, share_s = MIXINGS[mixing](signal_t, signal_s)
    return (share_t - share_s) / schedule.jump_gap(signal_t, signal_s)


def mix(original: Float[Tensor, "b *dims"], with_object: Tensor, share: Float[Tensor, "b"]) -> Tensor:
    """``(1 - lambda) original + lambda object`` (eq. 6), lambda given for each sample."""
    return original + per_sample(share, original) * (with_object - original)


def cro_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    z_original: Float[Tensor, "b c h w"],
    z_object: Float[Tensor, "b c h w"],
    noise: Float[Tensor, "b c h w"],
    t: Int[Tensor, "b"],
    gamma: Int[Tensor, "b"],
    schedule: Path,
    mixing: str = "schedule",
    importance: Float[Tensor, "b 1 h w"] | None = None,
) -> Float[Tensor, "b"]:
    """Eq. 9 with the two states mixed in latent space, in at least fp32: its mean over the latent, not its sum.

    ``predict(noisy, t)`` is the network and gives what ``schedule`` has networks learn, Stable Diffusion's the noise.
    ``importance`` weighs the squared error place by place.
    ``mixing`` is one of ``MIXINGS``.
    """
    signal_t, signal_s = signals(t, gamma, schedule)
    share_t, _ = MIXINGS[mixing](signal_t, signal_s)
    shift = per_sample(target_shift(signal_t, signal_s, schedule, mixing), noise) * (z_object - z_original)
    state = mix(z_original, z_object, share_t)
    return chain_loss(predict, state, shift, noise, t, (signal_t, signal_s), schedule, importance)


def pixel_cro_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    encode: Callable[[Tensor], Tensor],
    original: Float[Tensor, "b 3 H W"],
    with_object: Float[Tensor, "b 3 H W"],
    noise: Float[Tensor, "b c h w"],
    t: Int[Tensor, "b"],
    gamma: Int[Tensor, "b"],
    schedule: Path,
    mixing: str = "schedule",
    importance: Float[Tensor, "b 1 h w"] | None = None,
) -> Float[Tensor, "b"]:
    """Eq. 9 with the pictures mixed before ``encode``: eq. 6 taken literally, at two encodings a step."""
    signal_t, signal_s = signals(t, gamma, schedule)
    state_t, state_s = (encode(mix(original, with_object, share)) for share in MIXINGS[mixing](signal_t, signal_s))
    shift = per_sample(1 / schedule.jump_gap(signal_t, signal_s), noise) * (state_t - state_s)
    return chain_loss(predict, state_t, shift, noise, t, (signal_t, signal_s), schedule, importance)


def chain_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    state: Float[Tensor, "b c h w"],
    shift: Float[Tensor, "b c h w"],
    noise: Float[Tensor, "b c h w"],
    t: Int[Tensor, "b"],
    jump: tuple[Float[Tensor, "b"], Float[Tensor, "b"]],
    schedule: Path,
    importance: Float[Tensor, "b 1 h w"] | None = None,
) -> Float[Tensor, "b"]:
    """``w |output - (what is learned + shift)|^2``, the mean over a sample's numbers, at the noised ``state``.

    ``jump`` is the share of the picture before and after.
    """
    predicted = predict(schedule.add_noise(state, noise, jump[0]), t)
    squared = (predicted.to(noise) - (schedule.learned(state, noise) + shift)).square()
    if importance is not None:
        squared = squared * importance
    return schedule.jump_weight(*jump).to(noise) * squared.flatten(1).mean(1)
