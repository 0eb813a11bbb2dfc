"""Folders that are models in themselves, and whether what lies at a path has changed."""

import os
from collections.abc import Iterator
from pathlib import Path

import folder_paths


def folders_with(kind: str, *markers: str) -> dict[str, Path]:
    """Every folder under models/``kind`` with a file at one of the ``markers``, linked ones too, by its name there."""
    folders = [(root, Path(folder)) for root in folder_paths.get_folder_paths(kind) for folder in _folders(root)]
    found = [(root, folder) for root, folder in folders if any((folder / marker).is_file() for marker in markers)]
    return {os.path.relpath(folder, root): folder for root, folder in found}


def fingerprint(*paths: Path) -> list[tuple[str, int, int]]:
    """What changes when a file, or one in a folder, does: its path, time and size; a link to nowhere is none."""
    below = [Path(folder) for path in paths for folder in _folders(str(path))]
    files = [file for folder in below for file in sorted(folder.iterdir())] + [path for path in paths if path.is_file()]
    return [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file()]


def _folders(folder: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    """A folder and all below, linked ones too but not back to one they lie in; what may not be read is passed over."""
    real = os.path.realpath(folder)
    if real in above or not os.access(folder, os.R_OK) or not os.path.isdir(folder):
        return
    yield folder
    for name in sorted(next(os.walk(folder), (folder, [], []))[1]):
        yield from _folders(os.path.join(folder, name), (*above, real))
