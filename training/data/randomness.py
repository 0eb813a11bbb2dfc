"""Randomness that belongs to a sample: the same whichever process draws it, and whether the run was stopped before."""

import numpy as np
import torch
from torch import Tensor

from inpainting_core.shapes import Float


def sample_generator(*key: int) -> torch.Generator:
    """A generator of its own for each key, such as (seed, number of the sample)."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


def normal_like(like: Float[Tensor, "b *dims"], generators: list[torch.Generator]) -> Float[Tensor, "b *dims"]:
    """Standard normal noise of the shape of ``like``, each sample's from its own generator."""
    return torch.stack([torch.randn(like.shape[1:], generator=generator) for generator in generators]).to(like)
