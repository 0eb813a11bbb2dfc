"""``training.erase`` on files as cameras, scanners and editors write them."""

from pathlib import Path

import numpy as np
import pytest
from erase_folders import has_red, mask, photo, run
from PIL import Image, ImageOps

HOLE = (slice(22, 42), slice(38, 58))  # rows and columns of what erase_folders.mask draws
OUTSIDE = np.ones((64, 96), dtype=bool)
OUTSIDE[HOLE[0].start - 6 : HOLE[0].stop + 6, HOLE[1].start - 6 : HOLE[1].stop + 6] = False


def samples(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_photograph_is_erased_where_its_viewer_shows_the_object(tmp_path: Path, orientation: int):
    upright = Image.open(photo(tmp_path / "upright.png"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn_back = {5: 5, 6: 8, 8: 6}.get(orientation, orientation)  # the orientation that undoes this one
    undo = Image.Exif()
    undo[0x0112] = turn_back
    upright.save(tmp_path / "undo.tif", exif=undo)
    stored = ImageOps.exif_transpose(Image.open(tmp_path / "undo.tif"))
    (tmp_path / "images").mkdir()
    stored.save(tmp_path / "images" / "1.jpg", exif=exif, quality=95)
    mask(tmp_path / "masks" / "1.png")
    assert run(tmp_path) == 0
    with Image.open(tmp_path / "out" / "1.jpg") as result:
        assert result.size == (96, 64) and result.getexif().get(0x0112, 1) == 1
    assert has_red(tmp_path / "images" / "1.jpg") and not has_red(tmp_path / "out" / "1.jpg")


def test_a_16_bit_grey_picture_keeps_its_depth(tmp_path: Path):
    values = np.linspace(20000, 50000, 96 * 64).reshape(64, 96).astype(np.uint16)
    (tmp_path / "images").mkdir()
    Image.fromarray(values).save(tmp_path / "images" / "1.png")
    mask(tmp_path / "masks" / "1.png")
    assert run(tmp_path) == 0
    after = samples(tmp_path / "out" / "1.png")
    assert after.dtype == np.uint16 and np.array_equal(after[OUTSIDE], values[OUTSIDE])
    assert abs(after[HOLE].mean() - values[HOLE].mean()) < 3000


def test_transparency_is_kept_and_hidden_colours_stay_out_of_the_fill(tmp_path: Path):
    photo(tmp_path / "opaque.png")
    before = np.dstack([samples(tmp_path / "opaque.png"), np.full((64, 96), 255, dtype=np.uint8)])
    before[:, 60:] = 0  # hidden black right beside the hole
    (tmp_path / "images").mkdir()
    Image.fromarray(before).save(tmp_path / "images" / "1.png")
    mask(tmp_path / "masks" / "1.png")
    assert run(tmp_path) == 0
    after = samples(tmp_path / "out" / "1.png")
    assert np.array_equal(after[..., 3], before[..., 3]) and np.array_equal(after[OUTSIDE], before[OUTSIDE])
    assert abs(after[26:38, 42:54, :3].mean((0, 1)) - (120, 130, 140)).max() < 20


def drawn(kind: str) -> Image.Image:
    """The hole as one program or another draws it."""
    hole = np.zeros((64, 96), dtype=np.uint8)
    hole[HOLE] = 255
    zero = np.zeros_like(hole)
    return {
        "red": Image.fromarray(np.dstack([hole, zero, zero])),
        "green": Image.fromarray(np.dstack([zero, hole, zero])),
        "zero and one": Image.fromarray(hole // 255),
        "white, shape in alpha": Image.fromarray(np.dstack([np.full_like(hole, 255)] * 3 + [hole])),
        "black, shape in alpha": Image.fromarray(np.dstack([zero, zero, zero, hole])),
        "16 bit": Image.fromarray(hole.astype(np.uint16) * 257),
        "one bit": Image.fromarray(hole).convert("1"),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["red", "green", "zero and one", "white, shape in alpha", "black, shape in alpha", "16 bit", "one bit"]
)
def test_masks_mean_the_same_however_they_are_drawn(tmp_path: Path, kind: str):
    for name in ("plain", "other"):
        photo(tmp_path / "images" / f"{name}.png")
    mask(tmp_path / "masks" / "plain.png")
    drawn(kind).save(tmp_path / "masks" / "other.png")
    assert run(tmp_path) == 0
    assert np.array_equal(samples(tmp_path / "out" / "plain.png"), samples(tmp_path / "out" / "other.png"))
