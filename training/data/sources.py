"""Where pictures lie: a folder, each with what is known of it beside it under its own name.

    NAME.jpg             the picture
    NAME_entities.png    ids of its entities, one channel of 8 or 16 bits, 0 = nothing; left out: nothing is known
    NAME_entities.json   [{"id": 1, "score": 0.97, "thing": 0.88}, ...]; left out: every entity is a thing
    NAME_matte.png       8-bit alpha of its primary object

``training.data.shards`` is the other kind of source.  Both give the ``Files`` of a picture by its number.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from tqdm import tqdm

from inpainting_core.folders import files_below
from training.data.listing import MAP, MATTE, check_folder, is_picture
from training.data.reading import File, Unusable, whole_size
from training.data.refused import refused_pictures
from training.data.reporting import tell


@dataclass(frozen=True, eq=False)
class Files:
    """A picture's files, none of them opened yet; None for what it has not."""

    name: str
    picture: File
    entities: File | None = None
    facts: File | None = None
    matte: File | None = None


class Folder:
    """The pictures below a folder, sorted by name, without those that the ``prepare_`` scripts have refused.

    ``table`` is that of the set's own script, all of whose refusals count; of the others only those that no set can do
    without.  ``names`` are those to take, relative to the folder; left out: all.  Kept as plain bytes, of which a
    million fill no memory and processes share one copy.  Raises ValueError where there is no picture, or no folder.
    """

    units = None  # a folder has no order in which it is best read

    def __init__(self, folder: str | Path, table: str | None = None, names: Iterable[str] | None = None):
        check_folder(folder)
        self.path, files = Path(folder), set(files_below(folder))
        refused = refused_pictures(folder, table, files) if names is None else {}
        taken = {name for name in files if is_picture(name)} if names is None else set(names)
        if left_out := taken & refused.keys():
            taken -= left_out
            tell(f"{len(left_out)} pictures of {folder} are left out, as the prepare scripts' tables say")
        self.names = np.array(sorted(map(os.fsencode, taken)), dtype=bytes)
        if not len(self.names):
            refusals = f" but {len(left_out)} that were refused" if left_out else ""
            raise ValueError(
                f"a training folder must hold .jpg, .png or .webp pictures, got none{refusals} in {folder}."
            )
        # of two pictures with one name but for the ending, what lies beside them is the first one's
        stems = [os.path.splitext(name)[0] for name in self.names.tolist()]
        first = dict(zip(reversed(stems), reversed(range(len(stems))), strict=True))
        self.twin = np.array([first[stem] != number for number, stem in enumerate(stems)])
        self.mapped = np.array([_beside(os.fsdecode(name), MAP, "png") in files for name in self.names]) & ~self.twin

    def __len__(self) -> int:
        return len(self.names)

    def name(self, number: int) -> str:
        return os.fsdecode(self.names[number])

    def __getitem__(self, number: int) -> Files:
        name = self.name(number)
        found = [self.path / _beside(name, *kind) for kind in ((MAP, "png"), (MAP, "json"), (MATTE, "png"))]
        if self.twin[number]:
            return Files(name, self.path / name)
        return Files(name, self.path / name, *(path if path.exists() else None for path in found))

    def fingerprint(self) -> str:
        """The names of the pictures, and the sizes in bytes of all their files."""
        digest = sha256()
        for files in map(self.__getitem__, range(len(self))):
            found = (files.picture, files.entities, files.facts, files.matte)
            sizes = [path.stat().st_size if path and path.exists() else 0 for path in found]
            digest.update(f"{files.name} {sizes}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    def sizes(self) -> np.ndarray:
        """Every picture's (width, height), ``[n, 2]``; a broken one's is that of a square."""
        sizes = np.ones((len(self), 2), dtype=np.int32)
        for number in tqdm(range(len(self)), desc="measuring pictures", leave=False):
            try:
                sizes[number] = whole_size(self.path / self.name(number))
            except Unusable:
                continue  # it is named when it is read
        return sizes


def _beside(name: str, ending: str, kind: str) -> str:
    return f"{os.path.splitext(name)[0]}{ending}.{kind}"
