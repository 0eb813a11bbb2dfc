"""The best of a run's states, by a number from its held-out pictures; it is kept beside the newest ones."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training.running.resume import BEST, SEAL, is_whole, state_at, write_json


@dataclass(frozen=True)
class HeldOut:
    """``show`` draws the sheet of a step and measures; ``by`` names the measure that tells the best of the states."""

    show: Callable[[int], dict[str, float]]
    by: str
    lower: bool = False  # whether less of it is better

    def is_better(self, value: float, than: float) -> bool:
        return value < than if self.lower else value > than


def best_so_far(out: Path) -> dict | None:
    """The best state's step, the measure that tells it and its ``value``, all its numbers and their pictures."""
    return json.loads((out / BEST).read_text()) if (out / BEST).exists() else None


def note_best(out: Path, held_out: HeldOut, pictures: str, step: int, numbers: dict[str, float]) -> bool:
    """Note the state of this step, which is on disk, where no other one did better on the same pictures."""
    value, before = numbers[held_out.by], best_so_far(out)
    if not math.isfinite(value):
        return False
    same = before is not None and (before["by"], before["pictures"]) == (held_out.by, pictures)
    if same and not held_out.is_better(value, before["value"]):
        return before["step"] == step  # a run that was stopped looks once more
    note = {"step": step, "by": held_out.by, "value": value, "numbers": numbers, "pictures": pictures}
    write_json(out / BEST, note)
    return True


def best_state(out: Path) -> tuple[Path, dict]:
    """Where the best state lies, and what was noted of it.  Raises ValueError where there is none, or it is damaged."""
    best = best_so_far(out)
    if best is None:
        raise ValueError(f"--keep best needs a state whose held-out numbers are finite, got none in {out}.")
    slot = state_at(out, best["step"])
    if not (slot / SEAL).exists() or not is_whole(slot):
        raise ValueError(f"the best state, {slot}, is damaged or gone: give --keep last.")
    return slot, best
