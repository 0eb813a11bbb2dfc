"""The losses of a step's passes, and what all processes make of them together."""

import torch
from accelerate import Accelerator
from torch import Tensor


class Means:
    """Losses as they come, pass by pass, until a step is complete."""

    def __init__(self, accelerator: Accelerator, passes: int):
        self.accelerator, self.passes = accelerator, passes
        self.heard: dict[str, Tensor] = {}

    def add(self, losses: dict[str, Tensor]) -> None:
        """A pass's losses, scalars."""
        for name, loss in losses.items():
            self.heard[name] = self.heard.get(name, 0) + loss.detach().float() / self.passes

    def take(self, norm: Tensor, *others: Tensor | float) -> tuple[dict[str, float], list[float]]:
        """The means over the passes and processes, of the losses and the norm by their names and of the others.

        In one exchange; the losses are forgotten.
        """
        names, device = [*self.heard, "norm"], self.accelerator.device
        numbers = [torch.as_tensor(x, device=device).float() for x in (*self.heard.values(), norm, *others)]
        means, self.heard = self.accelerator.reduce(torch.stack(numbers), "mean").tolist(), {}
        return dict(zip(names, means, strict=False)), means[len(names) :]

    def over_processes(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes."""
        return self.accelerator.reduce(value, "mean")
