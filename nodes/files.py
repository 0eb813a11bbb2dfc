"""Folders that are models in themselves, and whether what lies at a path has changed."""

import os
from pathlib import Path

import folder_paths


def folders_with(kind: str, *markers: str) -> dict[str, Path]:
    """Every folder under models/``kind`` with a file at one of the ``markers``, linked ones too, by its name there."""
    walks = [(root, os.walk(root, followlinks=True)) for root in folder_paths.get_folder_paths(kind)]
    folders = [(root, Path(folder)) for root, walk in walks for folder, _, _ in walk]
    found = [(root, folder) for root, folder in folders if any((folder / marker).is_file() for marker in markers)]
    return {os.path.relpath(folder, root): folder for root, folder in found}


def fingerprint(*paths: Path) -> list[tuple[str, int, int]]:
    """What changes when a file, or one in a folder, does: its path, time and size."""
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files]
