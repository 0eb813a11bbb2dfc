"""Where the files of a shard's samples lie: a table beside each .tar, so that a start need not read them all."""

import os
import tarfile
from pathlib import Path

import numpy as np
from webdataset.tariterators import base_plus_ext

from training.data.listing import SUFFIXES
from training.data.reading import Unusable, whole_size
from training.data.reporting import tell

PARTS = ("picture", "entities", "facts", "matte")
ENDINGS = {suffix[1:]: 0 for suffix in SUFFIXES} | {"entities.png": 1, "entities.json": 2, "matte.png": 3}
WIDTH, HEIGHT = 2 * len(PARTS), 2 * len(PARTS) + 1
END = 1024  # bytes of zeros that close a .tar
COLUMNS = 2 * len(PARTS) + 2  # each part's offset and size in bytes, 0 for none; the picture's width and height


def index_of(shard: Path) -> np.ndarray:
    """A shard's samples, ``[n, COLUMNS]`` int64, mapped from the table beside it.

    The table is made where there is none or it is another shard's; where it cannot be written it stays in memory.
    """
    path = shard.with_suffix(".index.npy")
    try:
        table = np.load(path, mmap_mode="r")
        if table.shape[1:] == (COLUMNS,) and table[0, 0] == shard.stat().st_size:
            return table[1:]
    except (OSError, ValueError, EOFError):
        pass  # not there yet, or not whole
    table = list_samples(shard)
    head = np.zeros((1, COLUMNS), dtype=np.int64)
    head[0, 0] = shard.stat().st_size
    try:
        scratch = path.with_suffix(f".{os.getpid()}.tmp")
        with open(scratch, "wb") as file:
            np.save(file, np.concatenate([head, table]))
        scratch.replace(path)
    except OSError:
        return table  # a disk that is only read from
    return np.load(path, mmap_mode="r")[1:]


def list_samples(shard: Path) -> np.ndarray:
    """The table of ``index_of``, read from the shard.  Samples without a picture are left out.

    Of a shard that breaks off the samples before that count.
    """
    samples: dict[str, np.ndarray] = {}
    end, size, broken = 0, shard.stat().st_size, ""
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                end, (key, ending) = member.offset_data + member.size, base_plus_ext(member.name)
                if key is None or ending.lower() not in ENDINGS:
                    continue
                part = ENDINGS[ending.lower()]
                places = samples.setdefault(key, np.zeros(COLUMNS, dtype=np.int64))
                places[2 * part : 2 * part + 2] = member.offset_data, member.size
                if part == 0:
                    places[WIDTH:] = size_of(tar, member)
    except tarfile.ReadError as error:
        broken = f": {error}"
    if broken or end + END > size:
        tell(f"{shard} breaks off after {len(samples)} samples{broken}")
    kept = [places for places in samples.values() if places[1]]
    return np.stack(kept) if kept else np.zeros((0, COLUMNS), dtype=np.int64)


def size_of(tar: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[int, int]:
    """A picture's (width, height); a broken one's is that of a square, and it is named when it is read."""
    try:
        return whole_size(tar.extractfile(member))
    except Unusable:
        return 1, 1
