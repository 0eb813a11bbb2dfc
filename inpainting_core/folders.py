"""What lies below a folder."""

import os
from collections.abc import Iterator
from pathlib import Path


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
