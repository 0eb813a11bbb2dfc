"""EraDiff's path: deterministic DDIM from the noised original (EraDiff, eq. 2 with sigma_t = 0).

The network was taught (chain-rectifying optimisation) to let an object fade along the path, so the path has to
start where the object still is: at the original, noised, object and all.
"""

from collections.abc import Callable

from torch import Tensor

from inpainting_core.schedule import Schedule, trailing_timesteps
from inpainting_core.shapes import Float


def path(steps: int = 12, strength: float = 1.0) -> Float[Tensor, "n"]:
    """Noise levels of a trailing DDIM path, the final 0 included; ``strength`` < 1 starts further down."""
    return Schedule().sigmas_for(trailing_timesteps(steps, strength))


def ddim(
    model: Callable,
    x: Float[Tensor, "b c h w"],
    sigmas: Float[Tensor, "n"],
    extra_args: dict | None = None,
    callback: Callable | None = None,
    disable: bool | None = None,
) -> Float[Tensor, "b c h w"]:
    """Deterministic DDIM (Song et al. 2021, eq. 12) for ``x = x0 + sigma noise``, in k-diffusion's calling form.

    ``model(x, sigma) -> denoised``.  In this notation the noise estimate is ``(x - denoised) / sigma``, and a step
    keeps the estimate of x0 and scales the noise.
    """
    for i, (sigma, sigma_next) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        denoised = model(x, sigma.expand(len(x)), **(extra_args or {}))
        if callback is not None:
            callback({"i": i, "x": x, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
        x = denoised + (x - denoised) * (sigma_next / sigma)
    return x
