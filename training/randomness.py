"""Randomness that belongs to a sample: the same whichever process draws it, and whether the run was stopped before."""

import numpy as np
import torch
from torch import Tensor

from eradiff_core.inpainting.shapes import Float, Int


def sample_generator(*key: int) -> torch.Generator:
    """A generator of its own for each key, such as (seed, number of the sample)."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


def normal_like(like: Float[Tensor, "b *dims"], seed: int, numbers: Int[Tensor, "b"]) -> Float[Tensor, "b *dims"]:
    """Standard normal noise of the shape of ``like``, drawn for each sample by its number."""
    rows = [torch.randn(like.shape[1:], generator=sample_generator(seed, number)) for number in numbers.tolist()]
    return torch.stack(rows).to(like)
