"""The flags of ``training.erase``: what makes no sense is refused in one line before any weight is loaded."""

from pathlib import Path

import pytest
from erase_folders import load_once, mask, photo

from eradiff_core.attention import HARD, Softness
from training.erase import main, parse_args
from training.erasing import eraser
from training.erasing.flags import path_of, settings_of

ERADIFF = ["--method", "eradiff"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photo(tmp_path / "images" / "1.png")
    mask(tmp_path / "masks" / "1.png")
    return tmp_path


def flags(folder: Path, *more: str) -> list[str]:
    where = [part for name in ("images", "masks", "out") for part in (f"--{name}", str(folder / name))]
    return ["--method", "yoeo", "--model", "nano", *where, *more]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--strength", "0.5"], "--strength is eradiff's: leave it out with --method yoeo."),
        (["--attention", "off"], "--attention is eradiff's: leave it out with --method yoeo."),
        (["--softness-rising"], "--softness-rising is eradiff's: leave it out with --method yoeo."),
        ([*ERADIFF, "--softness", "1.5"], "softness must lie in 0..1, got 1.5."),
        (["--start", "mixed"], "--start is eradiff's: leave it out with --method yoeo."),
        (["--steps", "5"], "steps must lie in 1..4, got 5."),
        (["--steps", "0"], "steps must lie in 1..4, got 0."),
        ([*ERADIFF, "--steps", "1001"], "steps must lie in 1..1000, got 1001."),
        ([*ERADIFF, "--strength", "0"], "strength must lie in (0, 1], got 0.0."),
        (["--seed", "-1"], "--seed must be at least 0 and less than 18446744073709551616, got -1."),
        (["--grow", "nan"], "--grow must be at least 0, got nan."),
        (["--grow", "-2"], "--grow must be at least 0, got -2.0."),
        (["--context", "inf"], "--context must be at least 0, got inf."),
        (["--resolution", "100"], "--resolution must be a multiple of 64, got 100."),
        (["--resolution", "0"], "--resolution must be at least 64, got 0."),
        (["--candidates", "0"], "--candidates must be at least 1 and less than 9, got 0."),
        (["--candidates", "9"], "--candidates must be at least 1 and less than 9, got 9."),
        (["--until-clean"], "--until-clean needs --detector: give both or none."),
        (["--tries", "3"], "--tries needs --until-clean: give both or none."),
        (["--detector", "nano", "--until-clean", "--tries", "0"], "--tries must be at least 1, got 0."),
        (["--squeeze"], "--squeeze needs --raw: give both or none."),
        (["--raw", "--context", "0", "--candidates", "2"], "leave out --context, --candidates."),
        (["--raw", "--resolution", "128"], "give --squeeze to work at --resolution."),
        (["--official"], "--official needs --raw: give both or none."),
        ([*ERADIFF, "--raw", "--official"], "--official is yoeo's: leave it out with --method eradiff."),
        (["--raw", "--official", "--grow", "0", "--squeeze"], "with the mask as it is: leave out --grow, --squeeze."),
        (["--device", "cuda:99"], "--device cuda:99 cannot be used here: "),
        (["--device", "toaster"], "--device toaster cannot be used here: "),
        (["--model", "gone.safetensors"], "--model: there is no file or folder gone.safetensors."),
        (["--base", "gone"], "--base: there is no file or folder gone."),
        (["--detector", "gone.pth"], "--detector: there is no file or folder gone.pth."),
        (["--images", "gone"], "there is no file or folder gone."),
        (["--masks", "gone"], "there is no file or folder gone."),
    ],
)
def test_what_makes_no_sense_is_refused_before_weights_are_loaded(
    folder: Path, more: list[str], said: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("training.erase.load_eraser", lambda args: pytest.fail("the weights were loaded"))
    assert main(parse_args(flags(folder, *more))) == 2
    line = capsys.readouterr().err
    assert line.startswith("training.erase: ") and said in line and line.count("\n") == 1
    assert not (folder / "out").exists()


def test_weights_that_cannot_be_read_are_told_in_one_line(folder: Path, capsys: pytest.CaptureFixture):
    (folder / "model.safetensors").write_bytes(b"not weights")
    assert main(parse_args(flags(folder, "--model", str(folder / "model.safetensors")))) == 2
    line = capsys.readouterr().err
    assert line.startswith("training.erase: model.safetensors ") and line.count("\n") == 1


def test_what_is_asked_for_reaches_the_pipeline(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(eraser, "load_engine", load_once)

    def asked(*more: str) -> dict:
        return eraser.load_eraser(parse_args(flags(folder, *more))).erase.keywords

    assert asked() == {"seed": 0, "judge": None, "tries": 1}
    assert asked(*ERADIFF, "--strength", "0.5", "--attention", "off", "--steps", "3", "--dtype", "bfloat16") == {
        **{"seed": 0, "judge": None, "tries": 1},
        **{"strength": 0.5, "attention": "off", "softness": HARD, "steps": 3},
    }
    assert asked(*ERADIFF, "--raw", "--start", "mixed", "--softness", "0.2", "--softness-rising") == {
        **{"seed": 0, "resolution": None},
        **{"start": "mixed", "softness": Softness(0.2, rising=True)},
    }
    crops = ["--grow", "0", "--context", "0.2", "--resolution", "64", "--candidates", "3"]
    judged = asked(*crops, "--seed", "7", "--detector", "nano", "--until-clean")
    assert callable(judged.pop("judge"))
    expected = {"grow_px": 0, "context": 0.2, "resolution": 64, "candidates": 3, "seed": 7, "tries": 4}
    assert judged == expected
    assert asked("--detector", "nano", "--until-clean", "--tries", "9")["tries"] == 9
    assert asked("--raw", "--grow", "2") == {"seed": 0, "grow_px": 2, "resolution": None}
    assert asked("--raw", "--official", "--steps", "1") == {"seed": 0, "steps": 1}
    assert asked("--raw", "--squeeze") == {"seed": 0, "resolution": 192}
    assert asked("--raw", "--squeeze", "--resolution", "128") == {"seed": 0, "resolution": 128}


def test_settings_tell_apart_what_gives_another_picture(folder: Path):
    plain = settings_of(parse_args(flags(folder)))
    others = [["--grow", "0"], ["--seed", "1"], ["--raw"], ["--method", "eradiff"], ["--detector", "nano"]]
    others += [["--raw", "--official"], ["--effects"]]
    assert len({plain, *(settings_of(parse_args(flags(folder, *more))) for more in others)}) == 1 + len(others)
    assert plain == settings_of(parse_args(flags(folder, "--again", "--device", "cuda")))


def test_the_steps_are_the_methods_own_where_none_are_given(folder: Path):
    assert len(path_of(parse_args(flags(folder)))) == 2 + 1
    assert len(path_of(parse_args(flags(folder, *ERADIFF)))) == 12 + 1
    assert len(path_of(parse_args(flags(folder, *ERADIFF, "--strength", "0.5")))) == 6 + 1
