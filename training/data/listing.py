"""The pictures below a folder, by their names."""

import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
MASK, MATTE, MAP = "_mask", "_matte", "_entities"  # what a picture's name is followed by for what lies beside it


def list_pictures(folder: str | Path) -> list[Path]:
    """All pictures below a folder, sorted; what lies beside them (``*_mask``, ``*_matte``, ``*_entities``) is left out.

    Raises ValueError where there is none.
    """
    paths = [Path(folder) / name for name in files_below(folder) if is_picture(name)]
    if not paths:
        raise ValueError(f"a training folder must hold .jpg, .png or .webp pictures, got none in {folder}.")
    return sorted(paths)


def is_picture(name: str) -> bool:
    stem, suffix = os.path.splitext(name)
    return suffix.lower() in SUFFIXES and not stem.endswith((MASK, MATTE, MAP))


def files_below(folder: str | Path, above: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of all files below a folder, relative to it and with forward slashes.

    Linked folders are followed, but not back to a folder that they lie in; hidden files and folders are passed over.
    """
    above = (*above, os.path.realpath(folder))
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                yield entry.name
            elif os.path.realpath(entry.path) not in above:
                yield from (f"{entry.name}/{name}" for name in files_below(entry.path, above))
