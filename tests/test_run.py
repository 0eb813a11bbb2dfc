"""A run can be left alone: what goes wrong ends in a sentence, and nothing that was learned is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from multiprocessing import get_context

import pytest
import torch
from accelerate import Accelerator, DistributedType
from fitting import at_pass, fit_with
from torch.utils.data import DataLoader, Dataset
from training_runs import ROOT, assert_equal, events_of, killed_at, logged, state_of

from training import (
    train_detector,
    train_eradiff,
    train_vae,
    train_yoeo_stage1,
    train_yoeo_stage2,
    train_yoeo_stage3,
)
from training.running import disk, lock
from training.running.endings import RunEnded, run_script
from training.running.finite import PATIENCE, all_finite
from training.running.flags import workers_here
from training.running.optimisation import refuse_sharded
from training.running.resume import save_for_resume
from training.running.stopping import SIGNALS

SCRIPTS = [train_detector, train_eradiff, train_vae]
SCRIPTS += [train_yoeo_stage1, train_yoeo_stage2, train_yoeo_stage3]
NEEDED = "--base b --teacher t --student s --detector d --images i --out o --objects drawn".split()


@pytest.fixture
def train(photos):
    return partial(fit_with, photos)


def is_finite(state: dict[str, dict]) -> bool:
    return all_finite(state["model"].values())


def test_a_run_that_gives_no_numbers_ends_and_keeps_only_finite_states(photos, tmp_path):
    with pytest.raises(RunEnded, match=f"{PATIENCE} steps in a row .*loss nan") as end:
        argv = "--steps 40 --save-every 5 --lr 1e38 --size 16 --batch-size 1 --workers 0".split()
        train_vae.main(train_vae.parse_args(["--images", str(photos), "--out", str(tmp_path), *argv]))
    assert end.value.code == 1
    steps = [int(slot.name) for slot in (tmp_path / "states").iterdir()]
    assert steps and all(is_finite(state_of(tmp_path, step)) for step in steps)


def test_a_step_without_a_number_moves_nothing_and_is_counted(train, tmp_path, monkeypatch):
    at_pass(monkeypatch, 1, lambda loss: loss * float("nan"))
    train(tmp_path, "--steps 2 --save-every 1")
    before, after = state_of(tmp_path, 1), state_of(tmp_path, 2)
    assert_equal(before["model"], after["model"])
    assert_equal(before["optimizer"], after["optimizer"])
    assert logged(tmp_path, "skipped") == [0, 1]
    assert len(logged(tmp_path, "loss")) == 1


def test_an_infinite_gradient_under_a_finite_loss_moves_nothing(train, tmp_path, monkeypatch):
    def steep(loss: torch.Tensor) -> torch.Tensor:
        loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    at_pass(monkeypatch, 1, steep)
    train(tmp_path, "--steps 2 --save-every 1")
    assert_equal(state_of(tmp_path, 1)["model"], state_of(tmp_path, 2)["model"])
    assert logged(tmp_path, "skipped") == [0, 1]


def test_weights_that_are_no_numbers_are_not_kept(tmp_path):
    accelerator = Accelerator()
    save_for_resume(accelerator, tmp_path, 1, [torch.ones(2)])
    for bad in (float("nan"), float("inf")):
        with pytest.raises(RunEnded, match="the state of step 1 is kept"):
            save_for_resume(accelerator, tmp_path, 2, [torch.ones(2), torch.tensor([1.0, bad])])
    assert [slot.name for slot in (tmp_path / "states").iterdir()] == ["00000001"]


def test_what_is_logged_is_the_mean_over_a_steps_passes(train, tmp_path):
    train(tmp_path / "one", "--steps 1 --batch-size 4")
    train(tmp_path / "four", "--steps 1 --global-batch 4")
    assert logged(tmp_path / "four", "loss") == pytest.approx(logged(tmp_path / "one", "loss"), rel=1e-5)
    assert logged(tmp_path / "four", "norm") == pytest.approx(logged(tmp_path / "one", "norm"), rel=1e-4)


def test_a_global_batch_must_be_shared_evenly(train, tmp_path):
    with pytest.raises(ValueError, match="--global-batch must be a multiple"):
        train(tmp_path, "--steps 1 --batch-size 2 --global-batch 3")


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_finishes_the_step_saves_it_and_ends_the_run(train, tmp_path, monkeypatch, number):
    def interrupt(loss: torch.Tensor) -> torch.Tensor:
        for _ in range(2):  # as a scheduler and a launcher do
            os.kill(os.getpid(), number)
        return loss

    flags, handlers = "--steps 4 --gradient-accumulation 2", [signal.getsignal(one) for one in SIGNALS]
    train(tmp_path / "whole", flags)
    with monkeypatch.context() as patch, pytest.raises(RunEnded, match=f"{number.name}: saved at step 2") as end:
        at_pass(patch, 2, interrupt)  # the first pass of the second step
        train(tmp_path / "parts", flags)
    assert end.value.code == 128 + number
    del end
    assert [signal.getsignal(one) for one in SIGNALS] == handlers
    train(tmp_path / "parts", flags)
    assert_equal(state_of(tmp_path / "whole", 4), state_of(tmp_path / "parts", 4))


def test_a_damaged_state_is_passed_over_for_the_one_before(train, tmp_path, monkeypatch, capsys):
    flags = "--steps 4 --save-every 1"
    train(tmp_path / "whole", flags)
    with killed_at(monkeypatch, 3):
        train(tmp_path / "parts", flags)
    newest = tmp_path / "parts" / "states" / "00000003" / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    train(tmp_path / "parts", flags)
    said = capsys.readouterr().out
    assert "step 3" in said and "damaged" in said and "at step 2" in said
    assert_equal(state_of(tmp_path / "whole", 4), state_of(tmp_path / "parts", 4))
    for slot in (tmp_path / "parts" / "states").iterdir():
        (slot / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="no state in .* is whole"):
        train(tmp_path / "parts", flags)


def test_a_state_from_before_there_were_seals_is_gone_on_from(train, tmp_path, capsys):
    train(tmp_path, "--steps 2 --save-every 1")
    for slot in (tmp_path / "states").iterdir():
        (slot / "seal.json").unlink()
    (tmp_path / "run.json").unlink()
    train(tmp_path, "--steps 3 --save-every 1")
    assert f"resumed {tmp_path} at step 2" in capsys.readouterr().out


def test_a_state_is_kept_every_so_many_minutes_too(train, tmp_path):
    train(tmp_path, "--steps 3 --save-minutes 1e-9")
    assert sorted(slot.name for slot in (tmp_path / "states").iterdir()) == ["00000002", "00000003"]


def test_flags_are_recorded_and_a_run_goes_on_with_its_own_only(train, photos, tmp_path, capsys):
    train(tmp_path, "--steps 1 --save-every 1")
    kept = state_of(tmp_path, 1)
    for other, words in (
        ("--lr 1e-4", r"lr 0.0001 \(was 0.001\)"),
        ("--seed 1 --batch-size 2", r"seed 1 \(was 0\)"),
        ("--global-batch 2", r"gradient_accumulation 2 \(was 1\)"),
    ):
        with pytest.raises(ValueError, match=words):
            train(tmp_path, f"--steps 2 --save-every 1 {other}")
    assert_equal(kept, state_of(tmp_path, 1))
    train(tmp_path, "--steps 2 --save-every 2")
    said = capsys.readouterr().out
    assert "steps 2 (was 1)" in said and "save_every 2 (was 1)" in said
    with pytest.raises(ValueError, match="--steps may only grow"):
        train(tmp_path, "--steps 1")
    for flags in (json.loads((tmp_path / name).read_text()) for name in ("run.json", "held_out.json")):
        flags = flags.get("flags", flags)
        assert flags["steps"] == 2 and flags["images"] == str(photos) and flags["processes"] == 1
    assert "flags/text_summary" in events_of(tmp_path).Tags()["tensors"]


def test_one_run_a_folder(train, tmp_path, capsys):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    other.stdout.readline()
    with pytest.raises(ValueError, match=f"in use by process {other.pid} on"):
        train(tmp_path, "--steps 1")
    other.kill()
    other.communicate()
    train(tmp_path, "--steps 1")
    assert f"left by process {other.pid}" in capsys.readouterr().out
    assert not (tmp_path / "lock.json").exists()


def test_of_several_that_find_a_dead_owner_at_once_one_takes_over(tmp_path, monkeypatch):
    """As where a job is queued again twice; each looks for the owner a while."""
    lives, context = lock._lives, get_context("fork")
    monkeypatch.setattr(lock, "_lives", lambda *given: time.sleep(0.1) or lives(*given))
    dead = context.Process(target=lock.Lock, args=(tmp_path,))
    dead.start(), dead.join()
    (tmp_path / "lock.json").write_text(json.dumps({"pid": dead.pid, "host": socket.gethostname(), "started": 0}))
    together, over, said = context.Barrier(4), context.Event(), context.Queue()

    def start() -> None:
        together.wait()
        try:
            lock.Lock(tmp_path)
            said.put("holds")
            over.wait()
        except ValueError as error:
            said.put(str(error))

    processes = [context.Process(target=start) for _ in range(4)]
    for process in processes:
        process.start()
    heard = [said.get() for _ in processes]
    over.set()
    for process in processes:
        process.join()
    assert heard.count("holds") == 1 and sum("is in use by process" in one for one in heard) == 3


def test_a_lock_that_a_killed_run_left_half_written_holds_nobody_up(train, tmp_path):
    """A supervisor starts the run again at once, and may give up on one that refuses."""
    (tmp_path / "lock.json").write_text('{"pid": 1')
    train(tmp_path, "--steps 1")
    assert not (tmp_path / "lock.json").exists()


HOLD = """
import sys, time
from pathlib import Path
from training.running.lock import Lock
Lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_full_disk_is_foreseen_and_then_ends_the_run_in_a_sentence(train, tmp_path, monkeypatch, capsys):
    train(tmp_path, "--steps 1")
    assert "a state takes 0.00 GB" in capsys.readouterr().out
    usage = disk.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(ValueError, match="make room, or give --out on another disk"):
        train(tmp_path / "other", "--steps 1")
    with pytest.raises(RunEnded, match="Make room"):
        disk.check_room(tmp_path, 11, 5)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__.split(".")[-1])
def test_numbers_that_no_run_can_have_are_refused(script, capsys):
    parser_flags = [flag for flag in zip(NEEDED[::2], NEEDED[1::2], strict=True) if flag[0] in flags_of(script, capsys)]
    argv = [word for flag in parser_flags for word in flag]
    script.parse_args(argv)
    for flag, value in (("--steps", "-1"), ("--steps", "many"), ("--save-every", "0"), ("--batch-size", "0")):
        with pytest.raises(SystemExit) as end:
            script.parse_args([*argv, flag, value])
        assert end.value.code == 2
        assert f"argument {flag}: must be a whole number from 1, got {value}." in capsys.readouterr().err


def flags_of(script, capsys) -> set[str]:
    with pytest.raises(SystemExit):
        script.parse_args(["--help"])
    return set(capsys.readouterr().out.replace(",", " ").split())


def test_a_persons_mistake_is_one_line(tmp_path, capsys):
    """The base is no checkpoint either: the folder is missed before it is read."""
    (tmp_path / "base.safetensors").touch()
    argv = ["--base", str(tmp_path / "base.safetensors"), "--images", "no/such/folder", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as end:
        run_script(lambda: train_eradiff.parse_args(argv), train_eradiff.main)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "--images no/such/folder" in line
    with pytest.raises(ValueError, match="--images no/such/folder"):
        run_script(lambda: train_eradiff.parse_args([*argv, "--debug"]), train_eradiff.main)


class Refusing(Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> torch.Tensor:
        raise ValueError("a.png is no picture")


def test_a_mistake_that_a_worker_comes_upon_is_one_line_too(capsys):
    with pytest.raises(SystemExit) as end:
        run_script(
            lambda: train_vae.parse_args(["--images", "i", "--out", "o"]),
            lambda _: list(DataLoader(Refusing(), num_workers=1)),
        )
    assert end.value.code == 2 and capsys.readouterr().err == "error: ValueError: a.png is no picture\n"


def test_what_ends_a_run_is_one_line_and_its_code(capsys):
    def main(_):
        raise RunEnded("it is over", 143)

    with pytest.raises(SystemExit) as end:
        run_script(lambda: train_vae.parse_args(["--images", "i", "--out", "o"]), main)
    assert end.value.code == 143 and capsys.readouterr().err == "it is over\n"


def test_another_number_of_processes_is_refused_by_name(train, tmp_path):
    train(tmp_path, "--steps 1 --save-every 1")
    record = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(record | {"processes": 8}))
    with pytest.raises(ValueError, match=r"processes 1 \(was 8\)\. Give .* as many processes, or another --out"):
        train(tmp_path, "--steps 2 --save-every 1")


def test_workers_are_chosen_by_the_cores_and_the_processes_that_share_them(monkeypatch):
    for cores, trainers, workers in ((1, 1, 1), (2, 1, 1), (8, 1, 7), (64, 1, 8), (64, 8, 7), (96, 4, 8), (4, 8, 1)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: range(cores), raising=False)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(trainers))
        assert workers_here() == workers, (cores, trainers)


@pytest.mark.parametrize("kind", [DistributedType.FSDP, DistributedType.DEEPSPEED])
def test_a_launcher_that_would_cut_the_networks_up_is_refused_by_name(kind):
    with pytest.raises(ValueError, match=f"got {kind.value}: launch with docs/accelerate/one_machine.yaml"):
        refuse_sharded(kind)
    assert (ROOT / "docs" / "accelerate" / "one_machine.yaml").exists()
