"""./demo as a user runs it: a photograph and its mask in, the picture without the object out."""

import os
import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
from checkpoint_files import diffusers_folder
from PIL import Image, ImageCms, ImageOps
from scipy import ndimage
from tiny import tiny_checkpoint

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


@pytest.fixture
def square() -> tuple[np.ndarray, np.ndarray]:
    """A red square on a grey slope, and its mask."""
    picture, hole = np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96), bool)
    picture[:] = np.linspace(90, 200, 96)[None, :, None]
    picture[20:40, 30:50], hole[18:42, 28:52] = (200, 30, 30), True
    return picture, hole


def test_demo_gives_a_transparent_picture_back_as_one(comfyui: Path, tmp_path: Path, square: tuple):
    picture, hole = square
    alpha = np.full((64, 96), 255, np.uint8)
    alpha[:, 56:] = 0
    before = np.dstack([np.where(alpha[..., None] > 0, picture, 0).astype(np.uint8), alpha])
    Image.fromarray(before).save(tmp_path / "in.png")
    Image.fromarray(hole.astype(np.uint8)).save(tmp_path / "mask.png")  # 0 and 1, as labelling tools save it
    ended = demo(comfyui, "--image", tmp_path / "in.png", "--mask", tmp_path / "mask.png", "--out", tmp_path / "o.png")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    after, distance = np.asarray(Image.open(tmp_path / "o.png")), ndimage.distance_transform_edt(~hole)
    assert after.shape == before.shape and (after[..., 3] == alpha).all()
    assert (after[distance > 12] == before[distance > 12]).all()
    slope = np.broadcast_to(np.linspace(90, 200, 96)[None, :, None], picture.shape)
    assert abs(after[..., :3] - slope)[hole].mean() < 20  # the square is 76 away


def test_demo_gives_a_phones_jpeg_back_as_one(comfyui: Path, tmp_path: Path, square: tuple):
    picture, hole = square
    exif, profile = Image.Exif(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif[0x0112], exif[0x010F] = 3, "Phone"
    Image.fromarray(picture[::-1, ::-1].copy()).save(tmp_path / "in.jpg", quality=95, exif=exif, icc_profile=profile)
    Image.fromarray(hole[..., None] * np.array([255, 0, 0], np.uint8)).save(tmp_path / "mask.png")
    out = tmp_path / "new" / "result.jpg"
    ended = demo(comfyui, "--image", tmp_path / "in.jpg", "--mask", tmp_path / "mask.png", "--out", out)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    before = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "in.jpg"))).astype(int)
    with Image.open(out) as file:
        after = np.asarray(file).astype(int)
        assert file.info["icc_profile"] == profile and dict(file.getexif()) == {0x0112: 1, 0x010F: "Phone"}
    assert (after[..., 0] <= after[..., 1] + 60).all()
    assert abs(after - before)[ndimage.distance_transform_edt(~hole) > 20].max() <= 4
    assert sorted(path.name for path in out.parent.iterdir()) == ["result.jpg", "result_before_after.jpg"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--image", PICTURES / "wren.jpg"], "--image and --mask must be given together."),
        (["--model", "nowhere.safetensors"], "must be an existing path, got nowhere.safetensors."),
        (
            ["--image", PICTURES / "wren.jpg", "--mask", PICTURES / "rocket_mask.png"],
            "Not erased: rocket_mask.png must have its picture's size, 768 x 432 pixels, got 640 x 427.",
        ),
        (["--out", "result"], "argument --out: result must end in one of .png, .jpg, "),
        (["--image", ROOT / "demo", "--mask", PICTURES / "wren_mask.png"], "Not erased: demo must be a PNG, JPEG, "),
        (["--image", PICTURES / "wren.jpg", "--mask", ROOT / "demo"], "Not erased: demo must be a PNG, JPEG, "),
        (["--image", PICTURES, "--mask", PICTURES], "Not erased: a picture must be a file that exists, got "),
        (
            ["--image", PICTURES / "wren.jpg", "--mask", PICTURES / "rocket.jpg"],
            "Not erased: rocket.jpg must be white (or one colour) on black where to erase",
        ),
    ],
)
def test_demo_says_what_is_wrong_before_anything_starts(comfyui: Path, arguments: list, sentence: str):
    ended = demo(comfyui, *arguments)
    assert ended.returncode != 0
    assert sentence in ended.stderr
    assert "Starting" not in ended.stdout


def test_demo_finds_a_diffusers_folder_by_its_path(comfyui: Path, tmp_path: Path):
    """As it lies on somebody's disk: no model_index.json, and here no text encoder, which is told after it was read."""
    folder = diffusers_folder(tmp_path / "my inpainting model", tiny_checkpoint())
    ended = demo(comfyui, "--model", folder, "--out", tmp_path / "out.png")
    assert ended.returncode == 1 and "my inpainting model has neither" in ended.stderr, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--image", "p.jpg", "--mask", "m.png", "--out", "p.jpg"], "would be written over what you gave"),
        (["--image", "p.jpg", "--mask", "p_before_after.jpg", "--out", "p.png"], "would be written over what you gave"),
        (["--out", "folder.png"], "folder.png is a folder: name a file."),
        (["--model", "folder.png"], "folder.png holds no unet/: name a checkpoint file or a diffusers folder."),
    ],
)
def test_demo_refuses_before_it_starts(comfyui: Path, tmp_path: Path, arguments: list[str], said: str):
    (tmp_path / "folder.png").mkdir()
    for name in ("p.jpg", "m.png", "p_before_after.jpg"):
        Image.new("RGB", (64, 64)).save(tmp_path / name)
    before = (tmp_path / "p.jpg").read_bytes()
    here = [tmp_path / word if "." in word else word for word in arguments]
    ended = demo(comfyui, *here)
    assert ended.returncode == 2 and said in ended.stderr and "Starting" not in ended.stdout
    assert (tmp_path / "p.jpg").read_bytes() == before
