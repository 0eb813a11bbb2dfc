"""A folder of pictures erased without ComfyUI."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from training.erase import main, pairs, parse_args

PICTURES = Path(__file__).resolve().parent.parent / "assets" / "pictures"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """One photograph and its mask, which lie in two folders."""
    for name in ("photos", "masks"):
        (tmp_path / name).mkdir()
    Image.open(PICTURES / "wren.jpg").crop((200, 40, 456, 232)).save(tmp_path / "photos" / "part.png")
    mask = Image.new("L", (256, 192))
    ImageDraw.Draw(mask).ellipse((90, 60, 140, 110), fill=255)
    mask.save(tmp_path / "masks" / "part_mask.png")
    return tmp_path / "photos", tmp_path / "masks"


@pytest.mark.parametrize("method", ["yoeo", "eradiff"])
def test_a_folder_is_erased_and_the_rest_left_alone(folders: tuple[Path, Path], tmp_path: Path, method: str):
    photos, masks = folders
    where = ["--images", str(photos), "--masks", str(masks), "--out", str(tmp_path / "out")]
    main(parse_args(["--method", method, "--model", "nano", "--steps", "2", *where]))
    before, after = (np.asarray(Image.open(f / "part.png")) for f in (photos, tmp_path / "out"))
    changed = (before != after).any(-1)
    assert changed[60:110, 95:135].mean() > 0.5
    assert not changed[:40].any() and not changed[:, :70].any() and not changed[:, 160:].any()


def test_a_picture_without_a_mask_is_named(folders: tuple[Path, Path]):
    photos, masks = folders
    (masks / "part_mask.png").unlink()
    with pytest.raises(FileNotFoundError, match="every picture needs a mask, got none for part.png"):
        pairs(photos, masks)
