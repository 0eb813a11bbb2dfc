"""Large sets of pictures as WebDataset shards: plain .tar files of a thousand pictures or so.

A sample is KEY.jpg (or .png, .webp) with KEY.entities.png, KEY.entities.json and KEY.matte.png where these are known,
as the ``webdataset`` library reads and writes them (``training.prepare_shards``).  Training reads shards on a disk, a
window of them at a time with their pictures mixed (``training.data.order``).
"""

import glob
import io
from hashlib import sha256
from pathlib import Path

import numpy as np
from tqdm import tqdm
from webdataset.shardlists import expand_urls

from training.data.reading import Unusable
from training.data.shard_index import PARTS, WIDTH, index_of
from training.data.sources import Files


def are_shards(images: str | Path) -> bool:
    """Whether this names .tar files, or is a folder of them."""
    return str(images).endswith(".tar") or next(Path(images).glob("*.tar"), None) is not None


def shard_files(images: str | Path) -> list[Path]:
    """The files that are named: by a folder, or with * or {000000..000011} in their name."""
    if Path(images).is_dir():
        return sorted(Path(images).glob("*.tar"))
    found = glob.glob(str(images)) if "*" in str(images) else expand_urls(str(images))
    return sorted(map(Path, found))


class Shards:
    """Pictures out of shards.  Raises ValueError where they hold none."""

    def __init__(self, images: str | Path):
        self.files = shard_files(images)
        self.tables = [index_of(file) for file in tqdm(self.files, desc="listing shards", leave=False)]
        counts = np.array([len(table) for table in self.tables], dtype=np.int64)
        if not counts.sum():
            raise ValueError(f"shards must hold pictures, got none in {images}.")
        self.starts = np.concatenate([[0], counts.cumsum()])
        self.units = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self.mapped, self.matted = (self._have(part) for part in ("entities", "matte"))

    def _have(self, part: str) -> np.ndarray:
        column = 2 * PARTS.index(part) + 1
        return np.concatenate([table[:, column] > 0 for table in self.tables])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def _find(self, number: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self.starts, number, side="right")) - 1
        return shard, int(number - self.starts[shard])

    def name(self, number: int) -> str:
        shard, place = self._find(number)
        return f"{self.files[shard].name}, sample {place}"

    def __getitem__(self, number: int) -> Files:
        """Raises Unusable where the shard cannot be read."""
        shard, place = self._find(number)
        parts, places = [], self.tables[shard][place, :WIDTH].reshape(-1, 2).tolist()
        try:
            with open(self.files[shard], "rb") as file:
                for offset, size in places:
                    file.seek(offset)
                    parts.append(io.BytesIO(file.read(size)) if size else None)
        except OSError as error:
            raise Unusable(f"unreadable: {error}") from error
        return Files(self.name(number), **dict(zip(PARTS, parts, strict=True)))

    def fingerprint(self) -> str:
        """The names and sizes in bytes of the shards."""
        return sha256("".join(f"{file.name} {file.stat().st_size}\n" for file in self.files).encode()).hexdigest()[:16]

    def sizes(self) -> np.ndarray:
        """Every picture's (width, height), ``[n, 2]``."""
        return np.concatenate([table[:, WIDTH:] for table in self.tables]).astype(np.int32)
