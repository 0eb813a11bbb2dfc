"""Stopping and going on: the whole state of a run on disk, and which samples are still to come."""

import json
from pathlib import Path

from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset, Subset


def save_for_resume(accelerator: Accelerator, out: str | Path, step: int) -> None:
    """Write weights, optimizer, registered objects and random states; the newest state replaces the last one.

    The step is written after everything else, so a run killed while saving continues from the state before.
    """
    slot = Path(out) / "states" / f"{step:08d}"
    accelerator.save_state(str(slot))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        latest = Path(out) / "latest.json"
        latest.with_suffix(".tmp").write_text(json.dumps({"step": step, "state": slot.name}))
        latest.with_suffix(".tmp").replace(latest)
        for old in sorted(slot.parent.iterdir())[:-2]:
            for file in sorted(old.rglob("*"), reverse=True):
                file.unlink()
            old.rmdir()


def resume(accelerator: Accelerator, out: str | Path) -> int:
    """Restore the newest state of a run folder and return its step; 0 for a fresh run."""
    latest = Path(out) / "latest.json"
    if not latest.exists():
        return 0
    state = json.loads(latest.read_text())
    accelerator.load_state(str(Path(out) / "states" / state["state"]))
    accelerator.print(f"resumed {out} at step {state['step']}")
    return state["step"]


def remaining(samples: Dataset, done: int, batch_size: int, accelerator: Accelerator) -> Subset:
    """The samples that a run resumed after ``done`` steps has not seen yet, in order."""
    return Subset(samples, range(done * batch_size * accelerator.num_processes, len(samples)))


def loader_of(samples: Dataset, passes: int, batch_size: int, workers: int, accelerator: Accelerator) -> DataLoader:
    """Batches of the samples that a run resumed after so many passes has not seen yet, each process its share."""
    return accelerator.prepare(
        DataLoader(remaining(samples, passes, batch_size, accelerator), batch_size, num_workers=workers)
    )
