"""What a pipeline sees of a model: three methods, whoever loaded it; and what a run of a sampler is given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from inpainting_core.self_attention import SelfAttention
from inpainting_core.shapes import Float


@dataclass(frozen=True, eq=False)
class Inputs:
    """What one run of a sampler is given besides noise, all on the latent grid.

    ``start`` is the clean latent that the noise is added to, zeros for a start from pure noise; ``mask`` is 1 where
    to erase; ``masked`` is the latent of the masked picture; ``attention`` takes the place of plain attention in
    every self-attention layer, for as long as the run lasts.
    """

    start: Float[Tensor, "#b 4 h w"]
    mask: Float[Tensor, "#b 1 h w"]
    masked: Float[Tensor, "#b 4 h w"]
    attention: SelfAttention | None = None

    def noised_start(self, noise: Float[Tensor, "b 4 h w"], sigma: Float[Tensor, ""]) -> Float[Tensor, "b 4 h w"]:
        """``start + sigma noise``, or the noise alone at the variance of a picture noised to ``sigma``."""
        start = self.start.to(noise)
        return start + noise * torch.where(start.any(), sigma, (1 + sigma.square()).sqrt())


@runtime_checkable
class Engine(Protocol):
    """What a pipeline sees of a model.  Pictures are RGB in [0, 1], latents have unit variance.

    ``under_hole`` says how the picture is masked for it (``masked_picture``), ``texture`` where its fills have theirs
    from (``match_texture``), ``draws`` how many latents a fill is the mean of.
    """

    resolution: int
    under_hole: str
    texture: str
    draws: int

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 4 h/8 w/8"]: ...

    def decode(self, latent: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b 3 8*h 8*w"]: ...

    def sample(
        self, sampler: Callable, sigmas: Float[Tensor, "n"], noise: Float[Tensor, "b 4 h w"], inputs: Inputs
    ) -> Float[Tensor, "b 4 h w"]: ...
