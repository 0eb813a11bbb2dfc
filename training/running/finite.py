"""Numbers that are no numbers: a step with one moves nothing, and weights with one are never kept."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.optim import Optimizer

from training.running.endings import RunEnded

PATIENCE = 10  # steps in a row without a finite loss or gradient, after which a run ends


class Skipped:
    """How many steps moved nothing, in all and in a row."""

    def __init__(self) -> None:
        self.total = self.in_a_row = 0

    def count(self, said: dict[str, float], finite: bool, searching: bool) -> str:
        """One step more, of which ``said`` holds the numbers; what to tell of it, empty for one that moved.

        ``searching`` is True while fp16 looks for its scale, where a gradient too large is no fault.
        Raises RunEnded after too many in a row.
        """
        if finite:
            self.in_a_row = 0
            return ""
        only_gradients = all(math.isfinite(value) for name, value in said.items() if name != "norm")
        self.total += 1
        self.in_a_row += not (searching and only_gradients)
        bad = ", ".join(f"{name} {value}" for name, value in said.items() if not math.isfinite(value)) or "a gradient"
        if self.in_a_row >= PATIENCE:
            raise RunEnded(
                f"{PATIENCE} steps in a row gave no finite number ({bad}), so the run ends; the states kept are from "
                "before. Lower --lr, set --clip or another --mixed-precision, and start again."
            )
        return f"moved nothing: {bad}; {self.total} such steps so far"


def move(optimizers: Iterable[Optimizer], finite: bool) -> None:
    """The optimizers' step, after which there are no gradients; without a ``finite`` one nothing moves."""
    for optimizer in optimizers:
        if not finite:
            optimizer.zero_grad(set_to_none=True)  # so that not even weight decay moves
        optimizer.step()  # in any case: it is how fp16 finds its scale
        optimizer.zero_grad(set_to_none=True)


def moved(optimizers: Iterable[Optimizer]) -> Iterator[Tensor]:
    """Every weight that the optimizers move."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            yield from group["params"]


def gradient_norm(optimizers: Iterable[Optimizer]) -> Tensor:
    """The norm of every gradient that the optimizers would follow; not finite where one of them is not."""
    norms = [weight.grad.float().norm() for weight in moved(optimizers) if weight.grad is not None]
    return torch.stack(norms).norm() if norms else torch.zeros(())


def learned(optimizers: list[Optimizer]) -> Iterator[Tensor]:
    """Every weight that the optimizers move, and what they remember of it."""
    yield from moved(optimizers)
    for optimizer in optimizers:
        for memory in optimizer.state.values():
            yield from (value for value in memory.values() if isinstance(value, Tensor))


@torch.no_grad()
def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no tensor holds an infinity or what is no number."""
    return all(bool(tensor.detach().abs().amax().isfinite()) for tensor in tensors if tensor.numel())
