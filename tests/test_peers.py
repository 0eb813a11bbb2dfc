"""Classical methods and ours in one run: each with the grown mask, outside it nothing changes, and a run goes on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from score_folders import BOX, make_set

from evaluation.folders import seconds_in
from evaluation.peers import GROW_PX, main, parse_args


def run(root: Path, *methods: str) -> int:
    return main(parse_args(["--set", str(root / "set"), "--out", str(root / "erased"), "--methods", *methods]))


@pytest.mark.parametrize("method", ["telea", "navier-stokes", "patchmatch"])
def test_a_method_fills_the_grown_mask_and_nothing_else(tmp_path: Path, method: str):
    root = make_set(tmp_path, 1)
    assert run(root, method) == 0
    before, after = (
        np.asarray(Image.open(path)).astype(int)
        for path in (root / "set/input/a/p0.png", root / f"erased/{method}/a/p0.png")
    )
    rows, columns = np.mgrid[:32, :48]
    away = np.hypot(np.clip(10 - rows, 0, None) + np.clip(rows - 21, 0, None),
                    np.clip(16 - columns, 0, None) + np.clip(columns - 33, 0, None))  # fmt: skip
    assert (after[away > GROW_PX] == before[away > GROW_PX]).all()
    assert (after[BOX] != (230, 20, 20)).any(-1).mean() > 0.95
    assert set(seconds_in(root / f"erased/{method}")) == {"a/p0"}


def test_a_stopped_run_goes_on_and_the_sheet_shows_all(tmp_path: Path, capsys):
    root = make_set(tmp_path, 2)
    (root / "set/input/a/p1.png").rename(root / "kept.png")
    run(root, "telea")
    done = root / "erased/telea/a/p0.png"
    stamp = done.stat().st_mtime_ns
    (root / "kept.png").rename(root / "set/input/a/p1.png")
    assert run(root, "telea", "untouched") == 0
    assert done.stat().st_mtime_ns == stamp and set(seconds_in(root / "erased/telea")) == {"a/p0", "a/p1"}
    assert Image.open(root / "erased/sheet.jpg").size == (3 * 240, 18 + 2 * 180)


def test_a_broken_picture_is_named_and_the_rest_is_erased(tmp_path: Path, capsys):
    root = make_set(tmp_path, 2)
    (root / "set/input/a/p0.png").write_bytes(b"no picture")
    assert run(root, "telea") == 1
    assert "a/p0, telea: " in capsys.readouterr().err and set(seconds_in(root / "erased/telea")) == {"a/p1"}
