"""Stopping and going on: the whole state of a run on disk, and which samples are still to come."""

import argparse
import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from training.running.endings import RunEnded
from training.running.finite import all_finite
from training.running.stopping import ignore_signals

SEAL = "seal.json"  # every other file's SHA-256, and what the run said of itself; written last
BEST = "best.json"  # names the state that did best on held-out pictures (``training.running.best``)
AHEAD = 4  # batches that each worker prepares ahead: benchmarks.slow_storage says what fewer and more are worth
KEPT = 2  # the newest state, and the one before for where the newest turns out to be damaged


def save_for_resume(
    accelerator: Accelerator, out: str | Path, step: int, weights: Iterable[Tensor], said: dict[str, int] | None = None
) -> None:
    """Write weights, optimizer, registered objects and random states; the newest two states and the best are kept.

    The seal and then the step are written after everything else, so a run killed while saving continues from the state
    before.  ``weights`` are looked at first: raises RunEnded where one is not finite or the disk takes no more, and
    leaves the states that are there.  ``said`` comes back from ``resume``.
    """
    folder, latest = Path(out) / "states", Path(out) / "latest.json"
    slot = state_at(out, step)
    before = json.loads(latest.read_text())["state"] if latest.exists() else None
    left = f"the state of step {int(before)} is kept" if before else "no state was kept"
    if not all_finite(weights):
        raise RunEnded(f"step {step}: a weight is not a finite number, so it is not saved; {left}. Lower --lr.")
    if accelerator.is_main_process:
        shutil.rmtree(slot, ignore_errors=True)  # what a killed run had begun
    accelerator.wait_for_everyone()
    try:
        accelerator.save_state(str(slot))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            write_json(slot / SEAL, {"files": digests(slot), "said": said or {}})
            write_json(latest, {"step": step, "state": slot.name})
    except (OSError, RuntimeError, SafetensorError) as error:  # each library has its own for a full disk
        shutil.rmtree(slot, ignore_errors=True)
        raise RunEnded(f"step {step} could not be saved in {folder} ({error}); {left}. Free space there.") from error
    if accelerator.is_main_process:
        keep = {slot.name, *sorted(name for name in sealed(folder) if name < slot.name)[1 - KEPT :]}
        if (Path(out) / BEST).exists():
            keep.add(state_at(out, json.loads((Path(out) / BEST).read_text())["step"]).name)
        for old in folder.iterdir():
            if old.name not in keep:
                shutil.rmtree(old)
    accelerator.wait_for_everyone()  # a launcher ends the first process as soon as another one has ended


def state_at(out: str | Path, step: int) -> Path:
    """Where the state of a step lies."""
    return Path(out) / "states" / f"{step:08d}"


def resume(accelerator: Accelerator, out: str | Path) -> tuple[int, dict[str, int]]:
    """Restore the newest whole state of a run folder; return its step, 0 for a fresh run, and what was said with it.

    Raises ValueError where there are states and none of them is whole.
    """
    found = [newest_whole(Path(out))] if accelerator.is_main_process else [None]
    (slot,) = broadcast_object_list(found)
    if slot is None:
        return 0, {}
    accelerator.load_state(str(slot))
    accelerator.print(f"resumed {out} at step {int(slot.name)}")
    seal = slot / SEAL
    return int(slot.name), json.loads(seal.read_text())["said"] if seal.exists() else {}


def newest_whole(out: Path) -> Path | None:
    """The newest state whose files are as they were written; those that are not are named.

    None before a first state was finished.  A state from before there were seals is taken at its word.
    """
    latest, folder = out / "latest.json", out / "states"
    if not latest.exists():
        return None
    newest = json.loads(latest.read_text())["state"]
    names = sorted((path.name for path in folder.iterdir() if path.name <= newest), reverse=True)
    for name in names:
        slot = folder / name
        if not (slot / SEAL).exists():
            if name == newest and not sealed(folder):
                return slot
        elif is_whole(slot):
            return slot
        print(f"the state of step {int(name)} in {folder} is damaged or cut off; going on from the one before.")
    raise ValueError(f"no state in {folder} is whole; give another --out to begin again.")


def is_whole(slot: Path) -> bool:
    """Whether a sealed state's files are as they were written."""
    return json.loads((slot / SEAL).read_text())["files"] == digests(slot)


def sealed(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if (path / SEAL).exists()] if folder.exists() else []


def digests(slot: Path) -> dict[str, str]:
    """SHA-256 of every file of a state."""
    found = {}
    for path in sorted(slot.rglob("*")):
        if path.is_file() and path.name != SEAL:
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
            found[path.relative_to(slot).as_posix()] = digest.hexdigest()
    return found


def write_json(path: Path, content: object) -> None:
    """Write it whole or not at all."""
    path.with_suffix(".tmp").write_text(json.dumps(content, indent=2, default=str))
    path.with_suffix(".tmp").replace(path)


def loader_of(samples: Dataset, passes: int, args: argparse.Namespace, accelerator: Accelerator) -> DataLoader:
    """Batches of the samples that a run resumed after so many passes has not seen yet, each process its share."""
    seen = passes * args.batch_size * accelerator.num_processes
    workers = 0 if vars(args).get("cache_latents") else args.workers  # a pool is in memory as far as there is room
    left = Subset(samples, range(seen, len(samples)))
    ahead = AHEAD if workers else None
    loader = DataLoader(
        left, args.batch_size, num_workers=workers, prefetch_factor=ahead, worker_init_fn=ignore_signals
    )
    return accelerator.prepare(loader)
