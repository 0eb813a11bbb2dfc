"""Masks as people and tools save them, and what is no mask."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from picture_kinds import CONVENTIONS, draw_mask
from PIL import Image, ImageDraw, ImageFilter

from inpainting_core.picture_files import read_mask

PICTURES = Path(__file__).resolve().parent.parent / "assets" / "pictures"
SIZE = (64, 96)


@pytest.fixture
def hole() -> np.ndarray:
    plane = np.zeros(SIZE, bool)
    plane[20:45, 30:60] = True
    return plane


def save(path: Path, planes: np.ndarray, **options) -> Path:
    Image.fromarray(planes).save(path, **options)
    return path


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_way_to_draw_a_hole_means_the_same(tmp_path: Path, hole: np.ndarray, convention: str):
    mask = read_mask(draw_mask(tmp_path / "m", hole, convention))
    assert mask.dtype == torch.float32 and torch.equal(mask, torch.from_numpy(hole.astype(np.float32))[None, None])


@pytest.mark.parametrize("picture", ["red", "white on black", "0 and 1"])
@pytest.mark.parametrize("clear", [None, 0])
def test_a_palettes_colours_are_what_counts(tmp_path: Path, hole: np.ndarray, picture: str, clear: int | None):
    """As DAVIS and VOC store them; with the background transparent, too."""
    colour = {"red": (128, 0, 0), "white on black": (255, 255, 255), "0 and 1": (1, 1, 1)}[picture]
    stored = Image.fromarray(hole.astype(np.uint8), "P")
    stored.putpalette([0, 0, 0, *colour])
    stored.save(tmp_path / "m.png", **({} if clear is None else {"transparency": clear}))
    assert torch.equal(read_mask(tmp_path / "m.png")[0, 0], torch.from_numpy(hole.astype(np.float32)))


@pytest.mark.parametrize("colour", [(255, 255, 255), (255, 0, 0), (0, 200, 0), (40, 60, 255)])
@pytest.mark.parametrize("quality", [60, 90])
def test_a_jpegs_noise_is_no_drawing(tmp_path: Path, hole: np.ndarray, quality: int, colour: tuple[int, int, int]):
    save(tmp_path / "m.jpg", hole[..., None] * np.array(colour, np.uint8), quality=quality)
    away = (read_mask(tmp_path / "m.jpg")[0, 0].numpy() >= 0.5) != hole
    assert not away[:18].any() and not away[23:42, 33:57].any() and away.mean() < 0.02


def test_a_jpeg_that_is_nearly_black_is_empty(tmp_path: Path):
    planes = np.random.default_rng(0).integers(0, 6, SIZE).astype(np.uint8)
    assert not read_mask(save(tmp_path / "m.jpg", planes)).any()


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "I;16"])
def test_empty_and_full_masks_are_masks(tmp_path: Path, level: int, mode: str):
    """An opaque picture with an alpha channel is told by its colours."""
    if mode == "I;16":
        save(tmp_path / "m.png", np.full(SIZE, level * 257, np.uint16))
    else:
        Image.new("L", SIZE[::-1], level).convert(mode).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png") == level / 255).all()


def test_an_empty_layer_is_an_empty_mask(tmp_path: Path):
    assert not read_mask(save(tmp_path / "m.png", np.zeros((*SIZE, 4), np.uint8))).any()


@pytest.mark.parametrize("kind", ["grey", "alpha", "white with alpha and a black ground"])
def test_soft_edges_stay_soft(tmp_path: Path, hole: np.ndarray, kind: str):
    soft = np.asarray(Image.fromarray(hole.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(3)))
    planes = {
        "grey": soft,
        "alpha": np.dstack([*[soft * 0 + 255] * 3, soft]),
        "white with alpha and a black ground": np.dstack([*[soft] * 3, np.where(soft > 0, 255, 0).astype(np.uint8)]),
    }[kind]
    assert torch.equal(read_mask(save(tmp_path / "m.png", planes))[0, 0], torch.from_numpy(soft / np.float32(255)))


@pytest.mark.parametrize("soft", [False, True])
def test_a_faint_grey_brush_is_not_made_stronger(tmp_path: Path, hole: np.ndarray, soft: bool):
    """The eraser says how faint it is; 0 and 1 beside it is a labelling tool's hole."""
    planes = hole.astype(np.uint8) * 110
    if soft:
        planes = np.asarray(Image.fromarray(planes).filter(ImageFilter.GaussianBlur(3)))
    assert float(read_mask(save(tmp_path / "m.png", planes)).max()) == pytest.approx(110 / 255, abs=1e-6)


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_mask_is_turned_as_a_viewer_shows_it(tmp_path: Path, hole: np.ndarray, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "m.png", hole.astype(np.uint8) * 255, exif=exif)
    shown = hole[::-1, ::-1] if orientation == 3 else np.rot90(hole, -1)
    assert torch.equal(read_mask(tmp_path / "m.png")[0, 0] > 0.5, torch.from_numpy(shown.copy()))


def two(hole: np.ndarray, one: object, other: object) -> np.ndarray:
    """Two objects drawn in their own colour or number."""
    depth = np.asarray(one).shape
    planes = np.zeros((*SIZE, *depth), np.uint8)
    planes[hole], planes[5:15, 5:20] = one, other
    return planes


@pytest.mark.parametrize(
    ("drawn", "found"),
    [
        ((1, 2), "it holds the numbers 1 and 2, and which to erase is not said"),
        ((250, 80), "it holds flat grey .80 of 255. beside brighter parts"),
        (((255, 0, 0), (0, 255, 0)), "it holds the colours #ff0000 and #00ff00"),
        (((255, 255, 255), (255, 0, 0)), "it holds the colours #ffffff and #ff0000"),
    ],
)
def test_two_things_are_refused_and_told(tmp_path: Path, hole: np.ndarray, drawn: tuple, found: str):
    with pytest.raises(ValueError, match=f"labels.png must be white .* on black where to erase.*{found}"):
        read_mask(save(tmp_path / "labels.png", two(hole, *drawn)))


def test_red_on_white_is_refused(tmp_path: Path, hole: np.ndarray):
    planes = np.where(hole[..., None], (255, 0, 0), 255).astype(np.uint8)
    with pytest.raises(ValueError, match="m.png must be white .* it holds the colours #ffffff and #ff0000"):
        read_mask(save(tmp_path / "m.png", planes))


@pytest.mark.parametrize("name", ["wren", "satellite", "rocket"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1 in alpha"])
def test_a_photograph_is_no_mask(tmp_path: Path, name: str, mode: str):
    """Nor is one with a hole in its transparency, as ComfyUI's mask editor saves it: there, transparent is hole."""
    photo = Image.open(PICTURES / f"{name}.jpg")
    if mode == "1 in alpha":
        photo.putalpha(Image.open(PICTURES / f"{name}_mask.png").convert("L").point(lambda level: 255 - level))
    else:
        photo = photo.convert(mode)
    photo.save(tmp_path / "photo.png")
    with pytest.raises(
        ValueError,
        match="photo.png must be white .*; it (holds (a picture|shades all)|is a picture cut out)",
    ):
        read_mask(tmp_path / "photo.png")


def test_colours_hidden_under_a_clear_picture_are_refused(tmp_path: Path, hole: np.ndarray):
    planes = np.dstack([*[hole.astype(np.uint8) * 255] * 3, np.zeros(SIZE, np.uint8)])
    with pytest.raises(ValueError, match="m.png .* it is transparent all over, with colours hidden below"):
        read_mask(save(tmp_path / "m.png", planes))


@given(st.integers(0, 2**32 - 1), st.sampled_from(CONVENTIONS), st.integers(1, 4))
def test_any_scribble_is_read_as_it_was_drawn(
    tmp_path_factory: pytest.TempPathFactory, seed: int, how: str, width: int
):
    rng = np.random.default_rng(seed)
    picture = Image.new("1", (int(rng.integers(8, 200)), int(rng.integers(8, 200))))
    ends = [tuple(rng.integers(0, picture.size).tolist()) for _ in range(5)]
    ImageDraw.Draw(picture).line(ends, fill=1, width=width)
    hole = np.asarray(picture)
    mask = read_mask(draw_mask(tmp_path_factory.mktemp("scribble") / "m", hole, how))
    assert torch.equal(mask[0, 0], torch.from_numpy(hole.astype(np.float32)))


def test_a_cut_out_picture_is_no_mask(tmp_path: Path):
    """Its colours are no drawing, and whether the shape or what is bright in it is meant is not said."""
    rng = np.random.default_rng(0)
    for seed in range(5):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        alpha = np.zeros((64, 64, 1), np.uint8)
        alpha[10:50, 12 + seed : 50] = 255
        Image.fromarray(np.concatenate([pixels // (1 + seed % 3), alpha], -1)).save(tmp_path / "cut.png")
        with pytest.raises(ValueError, match="cut.png must be white .*(is a picture cut out|holds the colours)"):
            read_mask(tmp_path / "cut.png")


def test_white_strokes_on_black_with_transparency_around_are_a_drawing(tmp_path: Path):
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[8:56, 8:56, 3] = 255
    pixels[20:30, 20:30, :3] = 255
    Image.fromarray(pixels).save(tmp_path / "strokes.png")
    assert (read_mask(tmp_path / "strokes.png")[0, 0].numpy() == (pixels[..., 0] > 0)).all()
