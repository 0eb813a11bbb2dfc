"""./demo as a user runs it: a photograph and its mask in, the picture without the object out."""

import os
import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "assets" / "pictures"


def demo(comfyui: Path, *arguments: str | Path):
    """Runs the script in this environment."""
    known = {**os.environ, "COMFYUI_PATH": str(comfyui)}
    return run([sys.executable, ROOT / "demo", *arguments], env=known, capture_output=True, text=True)


@pytest.mark.parametrize("method", ["yoeo", "eradiff"])
def test_demo_erases_the_bird(comfyui: Path, tmp_path: Path, method: str):
    """Random weights leave a ghost (0.26 below), a base that draws objects a bird (0.48), and neither passes."""
    ended = demo(comfyui, "--method", method, "--out", tmp_path / "out.png")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    before = np.asarray(Image.open(PICTURES / "wren.jpg"), dtype=float)
    after = np.asarray(Image.open(tmp_path / "out.png"), dtype=float)
    hole = np.asarray(Image.open(PICTURES / "wren_mask.png")) > 0
    distance = ndimage.distance_transform_edt(~hole)
    sky = before[(distance > 8) & (distance < 24)].mean(0)
    assert (after[distance > 12] == before[distance > 12]).all()
    assert abs(after[hole] - sky).mean() < 0.2 * abs(before[hole] - sky).mean()
    assert Image.open(tmp_path / "out_before_after.jpg").height == before.shape[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--image", PICTURES / "wren.jpg"], "--image and --mask must be given together."),
        (["--model", "nowhere.safetensors"], "must be an existing path, got nowhere.safetensors."),
        (
            ["--image", PICTURES / "wren.jpg", "--mask", PICTURES / "rocket_mask.png"],
            "Not erased: a mask must have its picture's size: expected (768, 432), got (640, 427).",
        ),
    ],
)
def test_demo_says_what_is_wrong_before_anything_starts(comfyui: Path, arguments: list, sentence: str):
    ended = demo(comfyui, *arguments)
    assert ended.returncode != 0
    assert sentence in ended.stderr
    assert "Starting" not in ended.stdout
