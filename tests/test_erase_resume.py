"""``training.erase`` started again: what is skipped, what is done anew, and what is never written over."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from erase_folders import flags, has_red, mask, photo, rows, run
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures with their masks, erased once; the third has an empty mask."""
    for name in ("1.png", "a/2.jpg", "3.png"):
        photo(tmp_path / "images" / name)
        mask((tmp_path / "masks" / name).with_suffix(".png"), box=None if name == "3.png" else (38, 22, 57, 41))
    assert run(tmp_path) == 0
    return tmp_path


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "out").rglob("*.[jp][pn]g")}


def done_anew(folder: Path, *more: str, code: int = 0) -> set[str]:
    """The results that another run writes."""
    before = times(folder)
    assert run(folder, *more) == code
    return {name for name, when in times(folder).items() if when != before.get(name)}


def test_what_is_done_is_skipped(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    capsys.readouterr()
    monkeypatch.setattr("training.erase.load_eraser", lambda args: pytest.fail("nothing is left to erase"))
    assert done_anew(folder) == set()
    assert "3 done before: see" in capsys.readouterr().out
    assert [row["status"] for row in rows(folder).values()] == ["erased", "nothing to erase", "erased"]


def test_a_changed_picture_or_mask_is_erased_anew(folder: Path):
    mask(folder / "masks" / "1.png", box=(36, 20, 60, 44))
    assert done_anew(folder) == {"1.png"}
    photo(folder / "images" / "a" / "2.jpg", size=(128, 96))
    mask(folder / "masks" / "a" / "2.png", size=(128, 96))
    assert done_anew(folder) == {"2.jpg"}
    os.utime(folder / "images" / "3.png")
    assert done_anew(folder) == {"3.png"}


@pytest.mark.parametrize("more", [["--seed", "1"], ["--grow", "0"], ["--again"], ["--dtype", "bfloat16"]])
def test_other_settings_erase_all_anew(folder: Path, more: list[str]):
    assert done_anew(folder, *more) == {"1.png", "2.jpg", "3.png"}
    assert done_anew(folder, *(flag for flag in more if flag != "--again")) == set()


def test_another_mask_of_the_same_size_and_time_is_another_mask(folder: Path):
    others = folder / "masks.tif", mask(folder / "more" / "masks.tif", box=(30, 20, 60, 44))
    mask(others[0])
    for path in others:
        os.utime(path, (0, 0))
    assert others[0].stat().st_size == others[1].stat().st_size
    assert done_anew(folder, "--masks", others[0]) == {"1.png", "2.jpg", "3.png"}
    assert done_anew(folder, "--masks", others[1]) == {"1.png", "2.jpg", "3.png"}
    assert done_anew(folder, "--masks", others[1]) == set()


def test_a_result_that_is_gone_is_made_anew(folder: Path):
    (folder / "out" / "1.png").unlink()
    assert done_anew(folder) == {"1.png"}


def test_a_former_result_outlives_a_failure_and_is_still_replaced(folder: Path):
    good = (folder / "masks" / "1.png").read_bytes()
    (folder / "masks" / "1.png").write_bytes(good[:40])
    assert done_anew(folder, code=1) == set()
    assert rows(folder)["1.png"]["status"] == "failed" and not has_red(folder / "out" / "1.png")
    (folder / "masks" / "1.png").write_bytes(good)
    assert done_anew(folder) == {"1.png"}


@pytest.mark.parametrize("whose", ["foreign", "edited"])
def test_what_this_script_did_not_make_is_not_written_over(folder: Path, whose: str, capsys: pytest.CaptureFixture):
    if whose == "foreign":
        photo(folder / "images" / "4.png")
        mask(folder / "masks" / "4.png")
    theirs = photo(folder / "out" / ("4.png" if whose == "foreign" else "1.png"), size=(8, 8))
    kept = theirs.read_bytes()
    assert done_anew(folder, "--seed", "1", code=1) == {"1.png", "2.jpg", "3.png"} - {theirs.name}
    assert theirs.read_bytes() == kept
    assert f"{theirs.name}: {theirs} is there and not of a former run" in capsys.readouterr().err
    assert done_anew(folder, "--seed", "1", code=1) == set()  # that it failed does not make it this script's
    assert done_anew(folder, "--seed", "1", "--overwrite") == {theirs.name}
    assert not has_red(theirs)


def test_results_of_another_folder_are_not_written_over(folder: Path):
    photo(folder / "others" / "1.png", size=(80, 64))
    before = (folder / "out" / "1.png").read_bytes()
    assert run(folder, "--images", folder / "others", "--masks", mask(folder / "m.png", size=(80, 64))) == 1
    assert (folder / "out" / "1.png").read_bytes() == before
    assert done_anew(folder) == set()


def test_a_table_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture):
    photo(tmp_path / "images" / "1.png")
    mask(tmp_path / "masks" / "1.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "erased.csv").write_text("my,own\n1,2\n")
    assert run(tmp_path) == 2
    assert "must have the columns" in capsys.readouterr().err
    assert (tmp_path / "out" / "erased.csv").read_text() == "my,own\n1,2\n"


def start(folder: Path, results: int, *more: str) -> subprocess.Popen:
    """A run in a process of its own that has written at least so many results."""
    command = [sys.executable, "-m", "training.erase", *flags(folder, *more)]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a background job is born deaf to it
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=heard, **pipes)
    deadline = time.monotonic() + 120
    while len(times(folder)) < results and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return process


def test_a_stopped_and_a_killed_run_go_on(tmp_path: Path):
    names = [f"{n:03}.png" for n in range(24)]
    for name in names:
        photo(tmp_path / "images" / name)
    one_for_all = "--masks", mask(tmp_path / "mark.png")
    stopped = start(tmp_path, 1, *one_for_all)
    stopped.send_signal(signal.SIGINT)
    out, err = stopped.communicate()
    assert stopped.returncode == 130, err
    assert "not tried" in out and "Traceback" not in err
    killed = start(tmp_path, len(times(tmp_path)) + 1, *one_for_all)
    killed.kill()
    killed.communicate()
    before = times(tmp_path)
    assert 2 <= len(before) < len(names)
    assert run(tmp_path, *one_for_all) == 0
    assert sorted(times(tmp_path)) == names
    anew = {name for name, when in times(tmp_path).items() if when != before.get(name)}
    assert len(anew & set(before)) <= 1  # the one that was being written when the run was killed
    for name in names:
        with Image.open(tmp_path / "out" / name) as picture:
            picture.load()
        assert not has_red(tmp_path / "out" / name)
    assert {row["status"] for row in rows(tmp_path).values()} == {"erased"}
