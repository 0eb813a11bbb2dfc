"""Large sets of labelled pictures as WebDataset shards: plain .tar files of a thousand pictures or so.

A sample is KEY.jpg (or .png, .webp) with KEY.entities.png and KEY.entities.json where its entities are known, as the
``webdataset`` library reads and writes them (``training.prepare_shards``).  Training reads shards on a disk: a stream
visits them in an order that depends on (seed, epoch) alone, and the pictures of a shard likewise, so that sample ``i``
is always the same one, a resumed run goes on where it was, and neighbours in a batch lie in one file.
"""

import io
import json
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from tqdm import tqdm
from webdataset.shardlists import expand_urls
from webdataset.tariterators import base_plus_ext

from training.data.labelled import Labelled, labelled
from training.data.pictures import SUFFIXES

PICTURE, MAP, FACTS = range(3)  # the files of a sample


class Shards:
    """Labelled pictures out of shards, for ``Composites``.  Raises ValueError where the shards hold no picture."""

    def __init__(self, pattern: str, seed: int):
        self.files, self.seed = [Path(file) for file in expand_urls(pattern)], seed
        # A table of where each file of a shard lies is made once; pictures are read when they are asked for.
        self.tables = [list_samples(file) for file in tqdm(self.files, desc="listing shards", leave=False)]
        self.counts = np.array([len(table) for table in self.tables])
        if not self.counts.sum():
            raise ValueError(f"shards must hold pictures, got none in {pattern}.")
        self.order = lru_cache(maxsize=2)(self._order)
        self.inner_order = lru_cache(maxsize=4)(self._inner_order)

    def draw(self, rng: np.random.Generator, index: int) -> Labelled:
        """The picture at place ``index`` of the endless stream; ``rng`` is not asked."""
        epoch, place = divmod(index, int(self.counts.sum()))
        order, starts = self.order(epoch)
        number = int(np.searchsorted(starts, place, side="right")) - 1
        shard = int(order[number])
        return self.read(shard, int(self.inner_order(epoch, shard)[place - starts[number]]))

    def read(self, shard: int, place: int) -> Labelled:
        """The picture at this place of a shard."""
        with open(self.files[shard], "rb") as file:
            parts = [self._bytes(file, *self.tables[shard][place, part].tolist()) for part in (PICTURE, MAP, FACTS)]
        with Image.open(io.BytesIO(parts[PICTURE])) as stored:
            picture = stored.convert("RGB")
        if not parts[MAP]:
            return Labelled(picture)
        ids, name = Image.open(io.BytesIO(parts[MAP])), f"the map of sample {place} of {self.files[shard].name}"
        return labelled(name, picture, ids, json.loads(parts[FACTS] or b"[]"))

    @staticmethod
    def _bytes(file: BinaryIO, offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The shards as this epoch visits them, and the place in the stream where each begins."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.files))
        return order, np.concatenate([[0], self.counts[order].cumsum()[:-1]])

    def _inner_order(self, epoch: int, shard: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch, shard)).permutation(self.counts[shard])


def list_samples(path: Path) -> np.ndarray:
    """Where the three files of each sample lie in a shard: offset and size in bytes, 0 for none, ``[n, 3, 2]``.

    Samples without a picture are left out.
    """
    endings = {suffix[1:]: PICTURE for suffix in SUFFIXES} | {"entities.png": MAP, "entities.json": FACTS}
    samples: dict[str, np.ndarray] = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            key, ending = base_plus_ext(member.name)
            if key is not None and ending.lower() in endings:
                places = samples.setdefault(key, np.zeros((3, 2), dtype=np.int64))
                places[endings[ending.lower()]] = member.offset_data, member.size
    kept = [places for places in samples.values() if places[PICTURE, 1]]
    return np.stack(kept) if kept else np.zeros((0, 3, 2), dtype=np.int64)
