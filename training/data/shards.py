"""Large sets of pictures as WebDataset shards: plain .tar files of a thousand pictures or so.

A sample is KEY.jpg (or .png, .webp) with KEY.entities.png and KEY.entities.json where its entities are known, as the
``webdataset`` library reads and writes them (``training.prepare_shards``).  Training reads shards on a disk, a window
of them at a time with their pictures mixed (``training.data.order``).
"""

import glob
import io
import tarfile
from hashlib import sha256
from pathlib import Path

import numpy as np
from tqdm import tqdm
from webdataset.shardlists import expand_urls
from webdataset.tariterators import base_plus_ext

from training.data.listing import SUFFIXES
from training.data.reading import Unusable, whole_size
from training.data.sources import Files

PARTS = ("picture", "entities", "facts", "matte")
ENDINGS = {suffix[1:]: 0 for suffix in SUFFIXES} | {"entities.png": 1, "entities.json": 2, "matte.png": 3}


def are_shards(images: str | Path) -> bool:
    return str(images).endswith(".tar")


class Shards:
    """Pictures out of shards, ``pattern`` with {000000..000011} or * in it.

    A table of where each file of a shard lies is made once; files are read when they are asked for.
    Raises ValueError where the shards hold no picture.
    """

    def __init__(self, pattern: str):
        found = sorted(glob.glob(pattern)) if "*" in pattern else expand_urls(pattern)
        self.files = [Path(file) for file in found]
        self.tables = [list_samples(file) for file in tqdm(self.files, desc="listing shards", leave=False)]
        counts = np.array([len(table) for table in self.tables], dtype=np.int64)
        if not counts.sum():
            raise ValueError(f"shards must hold pictures, got none in {pattern}.")
        self.starts = np.concatenate([[0], counts.cumsum()])
        self.units = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self.mapped = np.concatenate([table[:, 1, 1] > 0 for table in self.tables])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def _find(self, number: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self.starts, number, side="right")) - 1
        return shard, int(number - self.starts[shard])

    def name(self, number: int) -> str:
        shard, place = self._find(number)
        return f"{self.files[shard].name}, sample {place}"

    def __getitem__(self, number: int) -> Files:
        shard, place = self._find(number)
        with open(self.files[shard], "rb") as file:
            parts = []
            for offset, size in self.tables[shard][place].tolist():
                file.seek(offset)
                parts.append(io.BytesIO(file.read(size)) if size else None)
        return Files(self.name(number), **dict(zip(PARTS, parts, strict=True)))

    def fingerprint(self) -> str:
        """The names and sizes in bytes of the shards."""
        return sha256("".join(f"{file.name} {file.stat().st_size}\n" for file in self.files).encode()).hexdigest()[:16]

    def sizes(self) -> np.ndarray:
        """Every picture's (width, height), ``[n, 2]``; a broken one's is that of a square."""
        sizes = np.ones((len(self), 2), dtype=np.int32)
        for number in tqdm(range(len(self)), desc="measuring pictures", leave=False):
            try:
                sizes[number] = whole_size(self[number].picture)
            except Unusable:
                continue  # it is named when it is read
        return sizes


def list_samples(path: Path) -> np.ndarray:
    """Where the files of each sample lie in a shard: offset and size in bytes, 0 for none, ``[n, 4, 2]``.

    Samples without a picture are left out.
    """
    samples: dict[str, np.ndarray] = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            key, ending = base_plus_ext(member.name)
            if key is not None and ending.lower() in ENDINGS:
                places = samples.setdefault(key, np.zeros((len(PARTS), 2), dtype=np.int64))
                places[ENDINGS[ending.lower()]] = member.offset_data, member.size
    kept = [places for places in samples.values() if places[0, 1]]
    return np.stack(kept) if kept else np.zeros((0, len(PARTS), 2), dtype=np.int64)
