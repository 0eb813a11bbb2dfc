"""Whoever asks for half precision on a machine that has none of its own is told so before hours have passed."""

import pytest
import torch
from accelerate.state import AcceleratorState
from erase_folders import mask, photo
from erase_folders import run as erase

from training import train_eradiff
from training.running import precision
from training.running.precision import slowdown, told_of_half

SMALL = "--objects drawn --resolution 32 --workers 0 --steps 1 --batch-size 2"


@pytest.fixture(params=[0.0, float("inf")], ids=["every dtype is slow", "none is"])
def slow(request, monkeypatch) -> bool:
    """Either kind of machine, whichever this one is."""
    monkeypatch.setattr(precision, "TOO_SLOW", request.param)
    return request.param == 0


def test_fp32_takes_as_long_as_fp32():
    assert 0.3 < slowdown(torch.float32) < 3
    assert told_of_half("cpu", torch.float32, "another") == ""


def test_what_is_said_names_the_dtype_the_device_and_what_to_do(slow):
    told = told_of_half("cpu", torch.bfloat16, "--dtype float32")
    assert (told != "") is slow
    if slow:
        assert told.startswith("a convolution takes ") and told.endswith(
            " times as long in bfloat16 as in float32 on this cpu: --dtype float32 is quicker here."
        )
    assert told_of_half("cuda:0", torch.bfloat16, "--dtype float32") == "", "no card was there to try it on"


@pytest.mark.parametrize("asked", ["bf16", "fp16", "no"])
def test_a_training_says_so(slow, asked, base_file, photos, tmp_path, capsys):
    AcceleratorState._reset_state()  # accelerate keeps one precision a process
    argv = ["--base", str(base_file), "--images", str(photos), "--out", str(tmp_path), *SMALL.split()]
    train_eradiff.main(train_eradiff.parse_args([*argv, "--mixed-precision", asked]))
    AcceleratorState._reset_state()
    printed = capsys.readouterr().out
    assert ("--mixed-precision no is quicker here." in printed) is (slow and asked == "bf16")
    assert ("fp16 is for cards: on this cpu" in printed) is (asked == "fp16")


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_an_erasing_of_a_folder_says_so(slow, dtype, tmp_path, capsys):
    photo(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.png")
    assert erase(tmp_path, "--dtype", dtype) == 0
    assert ("--dtype float32 is quicker here" in capsys.readouterr().err) is (slow and dtype == "bfloat16")
