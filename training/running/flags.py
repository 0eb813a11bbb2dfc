"""Flags that several scripts have."""

import argparse
import glob
import os
from pathlib import Path

import torch

from training.data.flag_values import natural, not_negative, positive

MOST_WORKERS = 8  # a training process keeps no more of them busy


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
    parser.add_argument("--seed", type=natural, default=0)
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
    add_debug_flag(parser)


def add_labelling_flags(parser: argparse.ArgumentParser) -> None:
    """Where and how a network labels a folder."""
    parser.add_argument("--device", default="cpu", help="where the networks run: cpu, cuda, mps, ...")
    parser.add_argument(
        "--batch-size", type=positive, default=4, help="pictures of one size that a network sees at once (%(default)s)"
    )


def add_debug_flag(parser: argparse.ArgumentParser) -> None:
    """What ``run_script`` asks for."""
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
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    missing = [f"--{name.replace('_', '-')} {path}" for name, path in given.items() if not _is_there(path)]
    if missing:
        raise ValueError(f"there is nothing at {', '.join(missing)}: check the spelling and the folder you are in.")


def _is_there(path: str) -> bool:
    """A file or a folder; of shards that are named by a pattern, one, those in braces being looked for when read."""
    return "{" in path or Path(path).exists() or bool(glob.glob(path))


def check_device(device: str) -> None:
    """Raise ValueError for a device that is not there, before weights are read for it."""
    try:
        torch.empty(0, device=device)
    except (
        RuntimeError,
        AssertionError,
    ) as error:  # no such name, card, driver or support
        raise ValueError(f"--device {device} cannot be used here: {str(error).splitlines()[0]}") from error
