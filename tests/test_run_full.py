"""A month of accidents on a network that costs nothing: kill -9, SIGTERM, full disks and numbers that are none.

./test --full tests/test_run_full.py -s        # prints what happened, how often
"""

import json
import os
import shutil
import signal
import subprocess
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from fitting import at_passes, fit, parse_args
from training_runs import assert_equal, state_of

from training.running import disk
from training.running.endings import run_script
from training.running.finite import PATIENCE, all_finite
from training.running.resume import newest_whole

pytestmark = pytest.mark.full
STEPS = 300
FLAGS = f"--steps {STEPS} --save-every 7 --batch-size 2 --ema 0.5 --workers 0"


def start(photos: Path, out: Path, *extra: str):
    """The run in a process of its own."""
    argv = ["--images", str(photos), "--validation", str(photos), "--out", str(out), *FLAGS.split(), *extra]
    process = get_context("fork").Process(target=run_script, args=(lambda: parse_args(argv), fit))
    process.start()
    return process


def whole(photos: Path, out: Path, *extra: str) -> int:
    process = start(photos, out, *extra)
    process.join()
    return process.exitcode


def latest(out: Path) -> int:
    return json.loads((out / "latest.json").read_text())["step"] if (out / "latest.json").exists() else 0


@pytest.fixture(scope="module")
def undisturbed(photos, tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("undisturbed")
    assert whole(photos, out) == 0
    return state_of(out, STEPS)


def interrupt(photos, out: Path, rng, number: signal.Signals) -> tuple[int, int, int]:
    """Let the run go on for a while, then signal it: the step it had kept before, the one after, and how it ended."""
    before, process = latest(out), start(photos, out)
    while not (out / "lock.json").exists() and process.is_alive():
        time.sleep(0.01)
    if rng.random() < 0.5:  # not before it has kept something: how fast that is depends on the machine
        while latest(out) == before and process.is_alive():
            time.sleep(0.01)
    time.sleep(rng.uniform(0.0, 0.5))
    if process.is_alive():
        os.kill(process.pid, number)
    process.join()
    return before, latest(out), process.exitcode


@pytest.mark.parametrize(("number", "count"), [(signal.SIGKILL, 30), (signal.SIGTERM, 10)], ids=["kill -9", "SIGTERM"])
def test_signals_at_any_time_lose_nothing(photos, undisturbed, tmp_path, number, count):
    rng, done, folders, kept = np.random.default_rng(number), 0, 0, []
    while done < count:
        out, folders = tmp_path / str(folders), folders + 1
        while done < count and latest(out) < STEPS:
            before, after, code = interrupt(photos, out, rng, number)
            if code == 0:
                break
            assert code in (-number, 128 + number) and after >= before, "what was kept stays kept"
            done += 1
            kept.append(after)
        assert whole(photos, out) == 0
        assert_equal(undisturbed, state_of(out, STEPS))
    print(f"\n{done} times {number.name}, kept then: {kept}; {folders} runs ended with the bits of an undisturbed one")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MB."""
    (tmp_path / "disk").mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path / "disk")]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a disk")
    yield tmp_path / "disk"
    subprocess.run(["umount", "--lazy", str(tmp_path / "disk")], check=True)


def test_full_disks_lose_nothing(photos, undisturbed, small_disk, monkeypatch):
    """Nobody foresees it: a write fails, in whichever file."""
    rng, kept = np.random.default_rng(28), []
    usage = shutil.disk_usage(small_disk)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    for number in range(5):
        out, filler = small_disk / str(number), small_disk / "filler"
        assert whole(photos, out, "--steps", "7") == 0  # as many as there is room for its first state
        room = os.statvfs(small_disk)
        filler.write_bytes(bytes(room.f_bavail * room.f_frsize - int(rng.integers(20_000, 120_000))))
        assert whole(photos, out) == 1, "in a sentence"
        kept.append(latest(out))
        filler.unlink()
        assert whole(photos, out) == 0
        assert_equal(undisturbed, state_of(out, STEPS))
        shutil.rmtree(out)
    print(f"\n5 full disks, kept then: {kept}; 5 runs ended with the bits of an undisturbed one")


def test_numbers_that_are_none_move_nothing_and_are_never_kept(photos, tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    for number in range(5):
        bad = {
            int(first) + place for first in rng.choice(STEPS - 20, 4) for place in range(rng.integers(1, PATIENCE - 3))
        }
        at_passes(monkeypatch, bad, lambda loss: loss * float("nan"))
        assert whole(photos, tmp_path / f"whole {number}") == 0
        out = tmp_path / f"parts {number}"
        kills = 0
        while kills < 6 and interrupt(photos, out, rng, signal.SIGKILL)[2] == -signal.SIGKILL:
            kills += 1
        assert whole(photos, out) == 0
        one, two = (state_of(tmp_path / f"{name} {number}", STEPS) for name in ("whole", "parts"))
        assert_equal(one, two)
    at_passes(monkeypatch, set(range(100, STEPS)), lambda loss: loss * float("nan"))
    assert whole(photos, tmp_path / "end") == 1
    assert newest_whole(tmp_path / "end").name == "00000105" and all_finite(
        state_of(tmp_path / "end", 105)["model"].values()
    )
    print("\n5 runs with 4 spells of NaN each, killed on the way, ended with the bits of those that were not")
