"""What tests of training scripts share: photographs, a kill at a step, two processes, and a run's state on disk."""

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import BatchSampler

from training.running import run

ROOT = Path(__file__).resolve().parent.parent


def draw_photographs(folder: Path, size: tuple[int, int] = (80, 80)) -> Path:
    """Two smooth pictures of this width and height in px."""
    rng = np.random.default_rng(0)
    for name in "ab":
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


@contextmanager
def killed_at(monkeypatch, stop: int):
    """The script dies right after the state of this step is on disk."""
    save = run.save_for_resume

    def save_and_die(accelerator, out, step, *rest):
        save(accelerator, out, step, *rest)
        if step == stop:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run, "save_for_resume", save_and_die)
        yield


def given_to(processes: int, batch_size: int, length: int) -> list[int]:
    """The samples that a run's processes are given, one process after the other; which is accelerate's own choice."""
    batches = BatchSampler(range(length), batch_size, drop_last=True)
    shares = [BatchSamplerShard(batches, processes, process, even_batches=False) for process in range(processes)]
    return [sample for share in shares for batch in share for sample in batch]


def launch_two(module: str, argv: list[str]) -> None:
    """Run a script in two processes that speak through gloo."""
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    command += "--config_file docs/accelerate/one_machine.yaml --num_processes 2 --main_process_port 0".split()
    command += ["-m", module, *argv]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    launched = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert launched.returncode == 0, launched.stderr[-3000:]


def fork_two(main: Callable, args: argparse.Namespace, code: int = 0) -> None:
    """Run a script's ``main`` in two copies of this process that speak through gloo: nothing is imported anew.

    Both must end with this exit code.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]

    def one(rank: int) -> None:
        torch.set_num_threads(1)
        where = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in where.items()})
        os.environ.update(MASTER_ADDR="localhost", ACCELERATE_USE_CPU="true")
        AcceleratorState._reset_state(reset_partial_state=True)
        main(args)

    started = [get_context("fork").Process(target=one, args=(rank,)) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [code, code]


def events_of(out: Path) -> EventAccumulator:
    """All that a run told TensorBoard."""
    events = EventAccumulator(str(next(out.rglob("events.out.*")).parent))
    events.Reload()
    return events


def logged(out: Path, name: str) -> list[float]:
    """What a run told TensorBoard, step by step; nothing for what it never told."""
    events = events_of(out)
    return [event.value for event in events.Scalars(name)] if name in events.Tags()["scalars"] else []


def state_of(out: Path, step: int) -> dict[str, dict]:
    """Everything that a run keeps to go on from: each network's weights, each optimizer's memory."""
    slot = out / "states" / f"{step:08d}"
    weights = {file.stem: load_file(file) for file in sorted(slot.glob("*.safetensors"))}
    return weights | {
        file.stem: torch.load(file, weights_only=True)["state"] for file in sorted(slot.glob("optim*.bin"))
    }


def assert_equal(one, other, where: str = "") -> None:
    """The same bits all the way down."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where
