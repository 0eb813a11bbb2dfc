"""Several ways to do the same, timed in turn: whatever else the machine does falls on all of them, and ratios stay.

On a CPU it is the process's own seconds that count, with those of its threads: others may have the cores meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import quantiles
from time import perf_counter, process_time

import torch


@dataclass(frozen=True)
class Ratio:
    """Of two times that were taken side by side: the median over the turns, and its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, seconds: list[float], beside: list[float]) -> "Ratio":
        each = [one / other for one, other in zip(seconds, beside, strict=True)]
        low, middle, high = quantiles(each, n=4) if len(each) > 1 else each * 3
        return cls(middle, low, high)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def interleaved(
    ways: dict[str, Callable[[], object]], turns: int, device: torch.device | str = "cpu", warm_up: int = 1
) -> dict[str, list[float]]:
    """The seconds of each way in each turn; every other turn goes through them backwards."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-warm_up, turns):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            taken = seconds_of(ways[name], device)
            if turn >= 0:
                seconds[name].append(taken)
    return seconds


def seconds_of(way: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """Seconds of one call: processor seconds on a CPU, and until a card has done it the clock's."""
    if torch.device(device).type == "cpu":
        started = process_time()
        way()
        return process_time() - started
    torch.cuda.synchronize(device)
    started = perf_counter()
    way()
    torch.cuda.synchronize(device)
    return perf_counter() - started


def ratios(seconds: dict[str, list[float]], beside: str) -> dict[str, Ratio]:
    """Each way's time in units of one of them."""
    return {name: Ratio.of(values, seconds[beside]) for name, values in seconds.items()}
