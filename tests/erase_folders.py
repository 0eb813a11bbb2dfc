"""Small folders of pictures and masks, and ``training.erase`` over them in this process, its networks loaded once."""

import csv
from functools import cache
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from inpainting_core.engine import load_engine
from training.erase import main, parse_args
from training.erasing import eraser

SIZE = (96, 64)
load_once = cache(load_engine)


def photo(path: Path, red: bool = True, size: tuple[int, int] = SIZE) -> Path:
    """A grey picture, in whatever format its name asks for, with a red square to erase."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", size, (120, 130, 140))
    if red:
        ImageDraw.Draw(picture).rectangle((40, 24, 55, 39), fill=(230, 20, 20))
    picture.save(path)
    return path


def mask(path: Path, size: tuple[int, int] = SIZE, box: tuple | None = (38, 22, 57, 41), value: int = 255) -> Path:
    """White over the red square; without a box all black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("L", size)
    if box is not None:
        ImageDraw.Draw(picture).rectangle(box, fill=value)
    picture.save(path)
    return path


def has_red(path: Path) -> bool:
    with Image.open(path) as picture:
        red, green, _ = (band.tobytes() for band in picture.convert("RGB").split())
    return any(r > g + 60 for r, g in zip(red, green, strict=True))


def flags(folder: Path, *more: str) -> list[str]:
    """The quickest run over ``photos`` and ``masks`` into ``out``; what comes later takes the place of the earlier."""
    where = [part for name in ("images", "masks", "out") for part in (f"--{name}", str(folder / name))]
    return ["--method", "yoeo", "--model", "nano", "--steps", "1", "--resolution", "64", *where, *map(str, more)]


def run(folder: Path, *more: str) -> int:
    """``training.erase`` in this process; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eraser, "load_engine", load_once)
        return main(parse_args(flags(folder, *more)))


def rows(folder: Path) -> dict[str, dict[str, str]]:
    """The table of results, by the picture's path below ``images``."""
    with open(folder / "out" / "erased.csv", newline="") as file:
        return {row["picture"].removeprefix("../images/"): row for row in csv.DictReader(file)}
