"""Where memory runs out: draw the candidates in smaller batches, down to one at a time, before giving up."""

from collections.abc import Callable

import torch
from torch import Tensor

from inpainting_core.shapes import Float

# Some of the generators, and which of all they are -> a fill for each.
Draw = Callable[[list[torch.Generator], slice], Float[Tensor, "n 3 h w"]]


def in_batches_that_fit(draw: Draw, generators: list[torch.Generator], first: int = 0) -> Float[Tensor, "n 3 h w"]:
    """What ``draw`` gives for all generators at once, or for each half of them where that does not fit into memory.

    Each half begins where the generators stood, so that every candidate is what it would have been.  ``first`` is the
    place of the first generator among all.  Raises torch.cuda.OutOfMemoryError where one alone does not fit.
    """
    states = [generator.get_state() for generator in generators]
    try:
        return draw(generators, slice(first, first + len(generators)))
    except torch.cuda.OutOfMemoryError:
        if len(generators) == 1:
            raise
    # here the error is gone, and with it the tensors that its traceback held
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    half = len(generators) // 2
    halves = (generators[:half], first), (generators[half:], first + half)
    return torch.cat([in_batches_that_fit(draw, *one) for one in halves])
