"""YOEO's sampler: latent-consistency steps (Luo et al. 2023) at the timesteps that YOEO was distilled for.

The authors' two steps are 999 and 749, not the 999 and 499 of the stock LCM scheduler.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from inpainting_core.choosing import draw_noise
from inpainting_core.schedule import Path, Schedule
from inpainting_core.shapes import Float

TIMESTEPS = (999, 749, 499, 249)
SIGMA_DATA = 0.5  # of the boundary scaling
TIMESTEP_SCALING = 10.0


def timesteps(steps: int) -> tuple[int, ...]:
    """The timesteps of a run of 1 to 4 steps.  Raises ValueError for another number."""
    if not 1 <= steps <= len(TIMESTEPS):
        raise ValueError(f"steps must lie in 1..{len(TIMESTEPS)}, got {steps}.")
    return TIMESTEPS[:steps]


def path(steps: int = 2) -> Float[Tensor, "n"]:
    """Noise levels of a run, the final 0 included: 14.61, 4.08, 0 for two steps."""
    return Schedule().sigmas_for(timesteps(steps))


def boundary_scaling(sigma: Float[Tensor, ""], along: Path) -> tuple[Tensor, Tensor]:
    """c_skip and c_out, which make the step the identity at t = 0 (Song et al. 2023, eq. 5 as LCM scales it)."""
    scaled = TIMESTEP_SCALING * along.timestep_of(sigma[None])[0]
    return SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2), scaled / (scaled**2 + SIGMA_DATA**2) ** 0.5


def lcm(generators: list[torch.Generator], along: Path | None = None) -> Callable:
    """A sampler in k-diffusion's calling form whose fresh noise comes from ``generators`` (CPU ones), one a sample.

    It moves ``along`` a path, Stable Diffusion's where none is given.  The noise is drawn on the CPU, so that a seed
    gives the same picture on every device.
    """
    along = along or Schedule()

    def sample(
        model: Callable,
        x: Float[Tensor, "b c h w"],
        sigmas: Float[Tensor, "n"],
        extra_args: dict | None = None,
        callback: Callable | None = None,
        disable: bool | None = None,
    ) -> Float[Tensor, "b c h w"]:
        for i, (sigma, sigma_next) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
            # 1. predict x0
            denoised = model(x, sigma.expand(len(x)), **(extra_args or {}))
            if callback is not None:
                callback({"i": i, "x": x, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
            # 2. boundary scaling, in the network's notation, which LCM is written in
            c_skip, c_out = boundary_scaling(sigma, along)
            x = c_out * denoised + c_skip * along.shown(x, sigma)
            # 3. renoise to the next level; the last one is 0 and adds nothing
            x = along.noised(x, draw_noise(x.shape, generators, x.dtype).to(x.device), sigma_next)
        return x

    return sample
