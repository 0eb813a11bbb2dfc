"""What a training's step is made of: its networks, their gradients, AdamW, its pictures, and what is neither.

    python -m benchmarks.training_parts --images DIR --work /tmp/parts [--only eradiff stage1] [--steps 8]

Each script runs as a person would start it, at the nano's size, in a process of its own that gets its pictures itself,
up to where it would save its state; the first steps are left out.  *Parts* is the share of a step that its parts run
bare would take; with worker processes the pictures are got beside it, and ``workers`` says how many keep up with it.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from time import process_time
from unittest.mock import patch

import torch
from safetensors.torch import save_file
from torch.utils.data import dataloader

from benchmarks.full_size_step import alone
from inpainting_core.built_in import ASSETS, NANO_DETECTOR
from inpainting_core.checkpoint import read_checkpoint
from training import train_eradiff, train_yoeo_stage1, train_yoeo_stage2, train_yoeo_stage3
from training.running import run
from yoeo_core.discriminator import Discriminator

WARM = 2  # steps that are left out
BASE = ASSETS / "nano.safetensors"
COMMON = "--batch-size 4 --gradient-accumulation 1 --workers 0 --resolution 256"
DISTILLED = f"--teacher {BASE} --unlabelled drawn --perceptual stlpips_alex"
RUNS = {
    "eradiff": (train_eradiff, f"--base {BASE} --objects drawn"),
    "stage1": (train_yoeo_stage1, f"--base {BASE} --unlabelled drawn"),
    "stage2": (train_yoeo_stage2, DISTILLED),
    "stage3": (train_yoeo_stage3, f"{DISTILLED} --student {BASE} --detector {NANO_DETECTOR}"),
}


class Parts:
    """Processor seconds of each kind of work, nested work counted once, and those that passed since it is ``on``."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("networks", "gradients", "AdamW", "pictures"), 0.0)
        self.inside, self.started, self.steps = 0, process_time(), 0

    @contextmanager
    def counted(self, kind: str) -> Iterator[None]:
        self.inside += 1
        started = process_time()
        try:
            yield
        finally:
            self.inside -= 1
            if not self.inside:
                self.seconds[kind] += process_time() - started

    def around(self, kind: str, function: Callable) -> Callable:
        @wraps(function)
        def instead(*args, **kwargs):
            with self.counted(kind):
                return function(*args, **kwargs)

        return instead

    def restart(self) -> None:
        self.seconds, self.started, self.steps = dict.fromkeys(self.seconds, 0.0), process_time(), 0

    def shares(self) -> dict[str, float]:
        """Of the time since the last restart; ``else`` is what no part took."""
        whole = process_time() - self.started
        found = {kind: seconds / whole for kind, seconds in self.seconds.items()}
        return found | {"else": 1 - sum(found.values()), "seconds a step": whole / max(1, self.steps)}


@contextmanager
def counting() -> Iterator[Parts]:
    """Every network's call, gradient, AdamW step and batch of pictures in this process."""
    parts = Parts()
    loader = dataloader._SingleProcessDataLoaderIter
    places = [
        (torch.nn.Module, "__call__", "networks"),
        (torch.autograd, "backward", "gradients"),
        (torch.autograd, "grad", "gradients"),
        (torch.optim.AdamW, "step", "AdamW"),
        (loader, "_next_data", "pictures"),
    ]
    before = [patch.object(place, name, parts.around(kind, getattr(place, name))) for place, name, kind in places]

    for one in before:
        one.start()
    try:
        yield parts
    finally:
        for one in before:
            one.stop()


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--steps", type=int, default=8, help="of each script, besides the first (%(default)s)")
    parser.add_argument("--only", choices=RUNS, nargs="+", default=list(RUNS), help="(all)")
    return parser.parse_args(argv)


def one_run(name: str, args: argparse.Namespace) -> None:
    """Run a script up to its first state, and print the shares of its steps."""
    torch.set_num_threads(1)
    script, flags = RUNS[name]
    argv = [*flags.split(), *COMMON.split(), "--steps", str(args.steps + WARM), "--images", str(args.images)]
    if script is train_yoeo_stage3:
        argv += ["--discriminator", str(fresh_discriminator(args.work / "discriminator.safetensors"))]
    with counting() as parts:
        step = run.Run.step

        def counted_step(self: run.Run, *given: object) -> None:
            step(self, *given)
            parts.steps += 1
            if self.step_number == WARM:
                parts.restart()

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        with patch.object(run.Run, "step", counted_step), patch.object(run, "save_for_resume", stop):
            try:
                script.main(script.parse_args([*argv, "--out", str(args.work / name)]))
            except KeyboardInterrupt:
                told(name, parts.shares())


def fresh_discriminator(path: Path) -> Path:
    """A discriminator's file for the nano, as stage 2 leaves one beside its student."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(Discriminator(read_checkpoint(BASE).config.unet.channels[-1]).state_dict(), path)
    return path


def told(name: str, shares: dict[str, float]) -> None:
    bare = shares["networks"] + shares["gradients"] + shares["AdamW"]
    workers = math.ceil(shares["pictures"] / (1 - shares["pictures"]))
    cells = [f"{shares[kind]:.2f}" for kind in ("seconds a step", "networks", "gradients", "AdamW", "else", "pictures")]
    print(f"| {name} | " + " | ".join(cells) + f" | {bare / (1 - shares['pictures']):.2f} | {workers} |", flush=True)


def main(args: argparse.Namespace) -> None:
    print("| run | s a step | networks | gradients | AdamW | else | pictures | parts | workers |")
    print("|" + "---|" * 9)
    for name in args.only:
        alone(one_run, name, args)


if __name__ == "__main__":
    main(parse_args())
