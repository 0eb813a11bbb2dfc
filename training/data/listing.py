"""The pictures below a folder, by their names."""

import os
from pathlib import Path

from inpainting_core.folders import files_below

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
MASK, MATTE, MAP = "_mask", "_matte", "_entities"  # what a picture's name is followed by for what lies beside it


def list_pictures(folder: str | Path) -> list[Path]:
    """All pictures below a folder, sorted; what lies beside them (``*_mask``, ``*_matte``, ``*_entities``) is left out.

    Raises ValueError where there is none, or no folder.
    """
    check_folder(folder)
    paths = [Path(folder) / name for name in files_below(folder) if is_picture(name)]
    if not paths and next(Path(folder).glob("*.tar"), None):
        raise ValueError(f"shards are written of a folder that is prepared, got {folder}, which holds shards already.")
    if not paths:
        raise ValueError(f"a training folder must hold .jpg, .png or .webp pictures, got none in {folder}.")
    return sorted(paths)


def check_folder(folder: str | Path) -> None:
    """Refuse a file and a pattern, which only shards may be named by."""
    if not Path(folder).is_dir():
        raise ValueError(f"pictures must be given as a folder, and shards as one or as *.tar files, got {folder}.")


def namesakes(pictures: list[Path], what: str) -> dict[Path, str]:
    """Pictures whose name but for its ending is that of one before them (``dog.jpg``, ``dog.png``), with the reason.

    ``what`` lies beside a picture under its name, and is the first one's.
    """
    first = {picture.with_suffix(""): picture for picture in reversed(pictures)}
    owners = {picture: first[picture.with_suffix("")] for picture in pictures}
    return {
        picture: f"its {what} would have the name of the one of {owner.name}"
        for picture, owner in owners.items()
        if owner != picture
    }


def is_picture(name: str) -> bool:
    stem, suffix = os.path.splitext(name)
    return suffix.lower() in SUFFIXES and not stem.endswith((MASK, MATTE, MAP))
