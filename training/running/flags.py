"""Flags that every training has, and the values that a flag may have."""

import argparse
import glob
import os
from pathlib import Path

from training.networks.bases import FRESH

MOST_WORKERS = 8  # a training process keeps no more of them busy


def positive(text: str) -> int:
    """A whole number from 1; raises argparse's error otherwise."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """A whole number from 0; raises argparse's error otherwise."""
    return _whole(text, 0)


def not_negative(text: str) -> float:
    """A number from 0, inf included; raises argparse's error otherwise."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"must be a number from 0, got {text}.")
    return number


def share(text: str) -> float:
    """A number from 0 to 1; raises argparse's error otherwise."""
    number = not_negative(text)
    if number > 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text}.")
    return number


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least}, got {text}.")
    return number


def add_batch_flags(parser: argparse.ArgumentParser, steps: int, batch_size: int, accumulation: int) -> None:
    """How long a training is, and how many samples a step of it sees."""
    parser.add_argument("--steps", type=positive, default=steps, help="optimizer steps (%(default)s)")
    parser.add_argument(
        "--batch-size", type=positive, default=batch_size, help="samples a pass and process (%(default)s)"
    )
    whole = parser.add_mutually_exclusive_group()
    whole.add_argument(
        "--gradient-accumulation", type=positive, default=accumulation, help="passes an optimizer step (%(default)s)"
    )
    whole.add_argument(
        "--global-batch", type=positive, help="samples an optimizer step, over all processes; instead of passes"
    )


def add_folder_flags(parser: argparse.ArgumentParser, holds: str) -> None:
    """The run folder, which ``holds`` what the help names, and what is kept in it."""
    parser.add_argument("--mixed-precision", default="no", choices=["no", "fp16", "bf16"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--workers",
        type=natural,
        help=f"processes that prepare pictures; left out: by the cores, up to {MOST_WORKERS}",
    )
    parser.add_argument("--out", required=True, help=f"run folder: {holds}, sheets, logs, states")
    parser.add_argument(
        "--save-every", type=positive, default=500, help="steps between sheets and resumable states (%(default)s)"
    )
    parser.add_argument(
        "--save-minutes", type=not_negative, default=0.0, help="minutes between states besides; 0: by steps alone"
    )
    parser.add_argument(
        "--keep",
        choices=["last", "best"],
        default="last",
        help="state whose weights the file gets; best: by --validation (%(default)s)",
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")


def workers_here() -> int:
    """Processes that prepare pictures for one that trains: its share of this machine's cores, but one that it keeps."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    trainers = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # as torch's launchers set it
    return min(MOST_WORKERS, max(1, cores // trainers - 1))


def check_paths(args: argparse.Namespace, names: tuple[str, ...]) -> None:
    """That what these flags name is there; raises ValueError with all that is not.

    It is cheap, and the weights that are read before a missing folder is come upon are not.
    """
    given = {name: getattr(args, name) for name in names if getattr(args, name) not in (None, *FRESH)}
    missing = [f"--{name.replace('_', '-')} {path}" for name, path in given.items() if not _is_there(path)]
    if missing:
        raise ValueError(f"there is nothing at {', '.join(missing)}: check the spelling and the folder you are in.")


def _is_there(path: str) -> bool:
    """A file or a folder; of shards that are named by a pattern, one, those in braces being looked for when read."""
    return "{" in path or Path(path).exists() or bool(glob.glob(path))
