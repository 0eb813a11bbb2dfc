"""EraDiff's path: deterministic DDIM from the noised original (EraDiff, eq. 2 with sigma_t = 0).

The network was taught (chain-rectifying optimisation) to let an object fade along the path, so the path has to
start where the object still is: at the original, noised, object and all.
"""

from collections.abc import Callable

from torch import Tensor

from eradiff_core.cro import mix
from inpainting_core.schedule import Schedule, trailing_timesteps
from inpainting_core.shapes import Float


def path(steps: int = 12, strength: float = 1.0) -> Float[Tensor, "n"]:
    """Noise levels of a trailing DDIM path, the final 0 included; ``strength`` < 1 starts further down."""
    return Schedule().sigmas_for(trailing_timesteps(steps, strength))


def mixed_start(
    original: Float[Tensor, "b c h w"],
    filled: Float[Tensor, "b c h w"],
    mask: Float[Tensor, "b 1 h w"],
    sigma: Float[Tensor, ""],
) -> Float[Tensor, "b c h w"]:
    """Where training has a path pass ``sigma``: in the hole the original's share is lambda_t, the rest of it filled.

    ``original`` and ``filled`` are the latents of the picture and of some object-free fill of it, mask is 1 where to
    erase.  From full noise lambda is .995, and this is the original.  A path that starts further down at the original
    itself starts with more of the object than any that the network was taught: 1 instead of .96 at t = 799, of .84 at
    599 (eq. 6 with lambda_t = 1 - abar_t).
    """
    share = sigma.square() / (1 + sigma.square())
    return mix(filled * mask + original * (1 - mask), original, share.expand(len(original)))


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
