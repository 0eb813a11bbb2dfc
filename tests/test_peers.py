"""Classical methods and ours in one run: each with the grown mask, outside it nothing changes, and a run goes on."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from score_folders import BOX, make_set
from tiny import tiny_checkpoint

from evaluation import peers
from evaluation.folders import seconds_in
from evaluation.peers import GROW_PX, main, parse_args
from inpainting_core.checkpoint import write_checkpoint


def run(root: Path, *methods: str) -> int:
    return main(parse_args(["--set", str(root / "set"), "--out", str(root / "erased"), "--methods", *methods]))


@pytest.mark.parametrize(
    ("method", "share"),
    [("telea", 0.95), ("navier-stokes", 0.95), ("patchmatch", 0.95), ("object-remove", 0.7)],  # it leaves some of these
)
def test_a_method_fills_the_grown_mask_and_nothing_else(tmp_path: Path, method: str, share: float):
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
    assert (after[BOX] != (230, 20, 20)).any(-1).mean() > share
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


def test_a_package_that_is_not_there_is_named_with_the_line_that_gets_it(tmp_path: Path, capsys, monkeypatch):
    root = make_set(tmp_path, 1)
    monkeypatch.setitem(sys.modules, "object_remove", None)
    monkeypatch.setitem(sys.modules, "patchmatch", None)
    assert run(root, "object-remove", "patchmatch", "telea") == 1
    said = capsys.readouterr().err
    assert "object-remove is left out: " in said and "Get it: pip install object-remove\n" in said
    assert 'Get it: pip install ".[evaluate]"' in said and set(seconds_in(root / "erased/telea")) == {"a/p0"}


def test_networks_erase_with_the_checkpoints_that_were_named(tmp_path: Path, monkeypatch):
    root = make_set(tmp_path, 1)
    monkeypatch.setattr(peers, "STEPS", 3)
    stock = tmp_path / "stock.safetensors"
    write_checkpoint(stock, tiny_checkpoint())
    where = ["--set", str(root / "set"), "--out", str(root / "erased"), "--stock", str(stock)]
    assert main(parse_args([*where, "--methods", "stock", "attentive-eraser"])) == 0
    stocks, attentive = (
        np.asarray(Image.open(root / f"erased/{method}/a/p0.png")) for method in ("stock", "attentive-eraser")
    )
    assert (stocks != attentive).any() and (stocks[0] == attentive[0]).all()
