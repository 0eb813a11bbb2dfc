"""How a ComfyUI and its environment are set up, with stand-ins that cost nothing."""

import re
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workflows.client import with_mask
from workflows.comfyui import lay_out, requirements, serving
from workflows.environment import FROM_PINS, PINS, fill

ROOT = Path(__file__).resolve().parent.parent


def stand_in(folder: Path, program: str) -> Path:
    """A ComfyUI whose main.py does something else."""
    folder.mkdir()
    (folder / "main.py").write_text(program)
    return folder


def start(folder: Path, program: str) -> None:
    base = lay_out(folder / "base", ROOT)
    with serving(stand_in(folder / "comfyui", program), Path(sys.executable), base, seconds=2):
        pass


def test_requirements_leave_out_the_named_packages(tmp_path: Path):
    lines = ["torch", "torchsde", "torchvision>=0.2", "torchaudio", "", "# more:", "pydantic~=2.0  # why"]
    (tmp_path / "requirements.txt").write_text("\n".join(lines))
    kept = requirements(tmp_path, without=("torch", "torchvision", "torchaudio"))
    assert kept == ["torchsde", "pydantic~=2.0"]


def test_all_that_comfyui_lists_is_installed(tmp_path: Path):
    """torchaudio too: the pack never uses it, and ComfyUI 0.28 does not start without it."""
    listed = ["torch", "torchsde", "torchvision", "torchaudio", "comfy-kitchen==0.2.31"]
    (tmp_path / "requirements.txt").write_text("\n".join(listed))
    installed = [*(ROOT / PINS).read_text().splitlines(), *requirements(tmp_path, without=FROM_PINS)]
    assert all(any(line == name or line.startswith(f"{name}==") for line in installed) for name in listed)


def test_a_server_that_ends_is_reported_with_its_last_words(tmp_path: Path):
    with pytest.raises(RuntimeError, match=re.escape("ComfyUI must start, got exit code 3:\nno such thing")):
        start(tmp_path, "print('no such thing', flush=True); raise SystemExit(3)")


def test_a_server_that_never_answers_is_reported_and_ended(tmp_path: Path):
    with pytest.raises(RuntimeError, match=re.escape("ComfyUI must answer within 2 s, got nothing:\nthinking")):
        start(tmp_path, "import time; print('thinking', flush=True); time.sleep(600)")


def test_requirements_are_installed_once_and_again_when_they_change(tmp_path: Path):
    pins, python = tmp_path / "pins.txt", tmp_path / "bin" / "python"
    pins.write_text("torch==1\n")
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$*" >> "$(dirname "$0")/calls"\n')
    python.chmod(0o755)
    for lines in (["numpy"], ["numpy"], ["numpy", "scipy"]):
        fill(python, pins, lines)
    assert len((python.parent / "calls").read_text().splitlines()) == 2
    assert (tmp_path / "comfyui-requirements.txt").read_text() == "numpy\nscipy\n"


def test_a_mask_goes_into_the_alpha_and_must_fit(tmp_path: Path):
    Image.new("RGB", (6, 4), "blue").save(tmp_path / "photo.png")
    Image.new("L", (6, 4), 255).save(tmp_path / "mask.png")
    Image.new("L", (4, 6), 255).save(tmp_path / "other.png")
    (tmp_path / "both.png").write_bytes(with_mask(tmp_path / "photo.png", tmp_path / "mask.png"))
    assert Image.open(tmp_path / "both.png").getpixel((0, 0)) == (0, 0, 255, 0)
    with pytest.raises(ValueError, match="other.png must have its picture's size, 6 x 4 pixels, got 4 x 6."):
        with_mask(tmp_path / "photo.png", tmp_path / "other.png")


def test_hidden_colours_are_not_sent(tmp_path: Path):
    """A server sees no transparency: what lies under it would run into the fill."""
    planes = np.zeros((16, 16, 4), np.uint8)
    planes[:, :12] = (200, 100, 50, 255)
    Image.fromarray(planes).save(tmp_path / "photo.png")
    Image.new("L", (16, 16)).save(tmp_path / "mask.png")
    sent = np.asarray(Image.open(BytesIO(with_mask(tmp_path / "photo.png", tmp_path / "mask.png"))))
    assert (abs(sent[..., :3].astype(int) - (200, 100, 50)) <= 1).all() and (sent[..., 3] == 255).all()
