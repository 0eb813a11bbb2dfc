"""What was measured, and what was not and why: a book with a time of its own, which nothing that fails can close."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

import torch

from benchmarks.interleaved import seconds_of
from benchmarks.live_memory import LiveMemory

GB = 1e9
MOST_RUNS = 7  # of one thing that is timed


@dataclass(frozen=True)
class Setting:
    """The device, and whether all is ``small``."""

    device: torch.device
    small: bool

    @property
    def dtypes(self) -> tuple[torch.dtype, ...]:
        """A CPU convolves in fp16 at a crawl, if at all."""
        halves = (torch.float16, torch.bfloat16)
        return halves if self.device.type == "cuda" else halves[1:]


@dataclass
class Book:
    """The entries of one section, which begins nothing new after its ``seconds``."""

    setting: Setting
    seconds: float
    entries: dict[str, dict] = field(default_factory=dict)
    started: float = field(default_factory=perf_counter)

    @property
    def left(self) -> float:
        return self.seconds - (perf_counter() - self.started)

    def enter(self, name: str, measured: Callable[[], dict]) -> None:
        """What ``measured`` gives, or why it is absent: no time, no memory, a missing library, or torch's error.

        A card's time is dear: an error in one measurement must not cost the others.
        """
        if self.left <= 0:
            self.entries[name] = {"absent": f"the section's {self.seconds:.0f} seconds were over"}
            return
        try:
            self.entries[name] = measured()
        except torch.cuda.OutOfMemoryError:
            self.entries[name] = {"absent": "it does not fit into the card's memory"}
        except ImportError as error:
            self.entries[name] = {"absent": f"it needs a library: {error}"}
        except RuntimeError as error:
            self.entries[name] = {"absent": f"it failed: {str(error).splitlines()[0]}"}
        if self.setting.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()

    def timed(self, way: Callable[[], object]) -> float:
        """Median seconds of up to ``MOST_RUNS``, after one that warms up, for as long as the section's time lasts."""
        taken = [seconds_of(way, self.setting.device)]
        if self.setting.small:
            return taken[0]
        taken = [seconds_of(way, self.setting.device)]
        while len(taken) < MOST_RUNS and self.left > 0:
            taken.append(seconds_of(way, self.setting.device))
        return median(taken)

    def peak_gb(self, way: Callable[[], object]) -> float:
        """The most that is held during a call: on a card all of its allocator's, on a CPU what the call makes."""
        if self.setting.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.setting.device)
            way()
            return torch.cuda.max_memory_allocated(self.setting.device) / GB
        with LiveMemory() as held:
            way()
        return held.most / GB
