"""What a run was begun with, kept in its folder: another run may not go on from its states."""

import argparse
import json
from pathlib import Path

from training.running.resume import write_json

# what may change on the way: where things lie, what is shown and how the same numbers are come by
FREE = {"steps", "save_every", "save_minutes", "workers", "out", "validation", "look", "debug", "pool", "keep"}
FREE |= {"global_batch", "gradient_checkpointing", "dtype"}  # a global batch is kept as the passes it comes to


def record_of(args: argparse.Namespace, script: str, processes: int) -> dict[str, object]:
    """A run's flags as they are recorded, with its script and its number of processes."""
    return json.loads(json.dumps(vars(args) | {"script": script, "processes": processes}, default=str))


def compare(out: Path, now: dict[str, object]) -> list[str]:
    """What differs from the record of a run that has states to go on from, each difference in words.

    Raises ValueError where the difference would make it another run.
    """
    path = out / "run.json"
    if not (out / "latest.json").exists() or not path.exists():
        return []
    before = json.loads(path.read_text())
    both = [name for name in before if name in now and before[name] != now[name]]
    words = {name: f"{name} {now[name]} (was {before[name]})" for name in both}
    other = [words[name] for name in both if name not in FREE or (name == "steps" and now[name] < before[name])]
    if other:
        raise ValueError(
            f"{out} holds a run that was begun with other flags: {', '.join(other)}. "
            "Give the flags that it was begun with and as many processes, or another --out; --steps may only grow."
        )
    return list(words.values())


def take_up(out: Path, now: dict[str, object]) -> None:
    """Record what a run is begun with, or say with what else it goes on; raises as ``compare`` does."""
    for difference in compare(out, now):
        print(f"resuming with {difference}")
    write_json(out / "run.json", now)


def as_table(now: dict[str, object]) -> str:
    """For TensorBoard, in Markdown."""
    return "\n".join(["| flag | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in now.items())])


def without_flags(training: dict | None) -> dict:
    """What a file says of its training, short enough to print: all but the flags of the runs that made it."""
    shown = {name: fact for name, fact in (training or {}).items() if name != "flags"}
    return shown | ({"before": without_flags(shown["before"])} if shown.get("before") else {})
