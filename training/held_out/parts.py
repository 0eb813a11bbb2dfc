"""Held-out pictures a few at a time: what a training leaves free on its card need not hold all of them at once."""

from collections.abc import Callable

import torch
from torch import Tensor

AT_ONCE = 4


@torch.no_grad()
def in_parts(
    function: Callable[[dict[str, Tensor]], dict[str, Tensor]], batch: dict[str, Tensor], size: int = AT_ONCE
) -> dict[str, Tensor]:
    """``function`` of a batch, ``size`` samples at a time; what it gives lies on the CPU, numbers in fp32."""
    count = len(next(iter(batch.values())))
    made = [function({key: values[at : at + size] for key, values in batch.items()}) for at in range(0, count, size)]
    joined = {key: torch.cat([part[key].cpu() for part in made]) for key in made[0]}
    return {key: value.float() if value.is_floating_point() else value for key, value in joined.items()}
