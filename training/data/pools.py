"""Samples encoded once and kept on disk, for one run or several that ask for the same.

A pool is a folder: ``pool.json`` says what it was made of, and ``part-000000.safetensors`` and so on hold ``PART``
samples each, all of one shape.  A part is there whole or not at all, so a stopped run goes on with the parts that are
missing.  Parts are mapped into memory: the processes of a machine share one copy, which need not fit.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from training.data.order import Order
from training.data.sharing import agree

PART = 64
Facts = dict[str, Any]  # what a pool was made of: names, numbers and fingerprints
Sample = dict[str, Tensor]


def claim(folder: Path, facts: Facts) -> None:
    """Note what a new pool is made of.

    Raises ValueError for a folder that holds samples of anything else, with every difference.
    """
    noted = folder / "pool.json"
    if not noted.exists() and next(folder.glob("part-*"), None):
        raise ValueError(f"a pool must have its pool.json, got none in {folder}: delete that folder.")
    remedy = "Name another folder by --pool, or delete this one to have them made again."
    agree(noted, facts, f"the samples in {folder} were made of other things", remedy)


def encode_parts(
    samples: Dataset,
    encode: Callable[[Sample], Sample],
    folder: Path,
    batch_size: int,
    workers: int,
    process: int = 0,
    processes: int = 1,
) -> None:
    """Encode this process's share of the parts, those that are not there yet; each is written as soon as it is made.

    Another run that fills the same pool is waited for; of one that is whole nothing is written to.  Raises ValueError
    for a sample that is not finite.
    """
    own = [start for start in range(0, len(samples), PART) if start // PART % processes == process]
    if not missing(own, folder):
        return
    with FileLock(folder / f"process-{process}.lock"):
        starts = missing(own, folder)
        batches = {start: batches_of(start, min(start + PART, len(samples)), batch_size) for start in starts}
        flat = [batch for start in starts for batch in batches[start]]
        loader = iter(tqdm(DataLoader(samples, batch_sampler=flat, num_workers=workers), desc="encoding"))
        for start in starts:
            made = [encode(next(loader)) for _ in batches[start]]
            part = {key: compact(torch.cat([one[key].cpu() for one in made])) for key in made[0]}
            for key, values in part.items():
                if values.is_floating_point() and not values.isfinite().all():
                    raise ValueError(
                        f"an autoencoder must give finite numbers, got others for {key!r} from sample {start} on; this "
                        "one overflows: try --mixed-precision bf16 or no."
                    )
            scratch = folder / f"process-{process}.tmp"
            save_file(part, scratch)
            scratch.replace(part_at(folder, start))


def missing(starts: list[int], folder: Path) -> list[int]:
    """Of the parts that start at these samples, those that are not there."""
    return [start for start in starts if not is_whole(part_at(folder, start))]


def batches_of(start: int, stop: int, batch_size: int) -> list[range]:
    return [range(at, min(at + batch_size, stop)) for at in range(start, stop, batch_size)]


def compact(values: Tensor) -> Tensor:
    """Numbers in half precision, masks of nothing but 0 and 1 as booleans, bytes as they are."""
    if not values.is_floating_point():
        return values.contiguous()
    return values.bool() if ((values == 0) | (values == 1)).all() else values.half().contiguous()


def part_at(folder: Path, start: int) -> Path:
    return folder / f"part-{start // PART:06d}.safetensors"


def is_whole(path: Path) -> bool:
    """Whether a part is there, and not cut off by a machine that went down."""
    try:
        opened.__wrapped__(str(path))
    except (OSError, SafetensorError):
        return False
    return True


@lru_cache(maxsize=1024)
def opened(path: str) -> safe_open:
    """A part mapped into memory; nothing of it is read yet."""
    return safe_open(path, framework="pt")


class Pool(Dataset):
    """The first ``count`` samples of a folder by their numbers, as they were kept.

    Raises ValueError where one is missing.
    """

    def __init__(self, folder: Path, count: int):
        self.parts, self.count = [str(part_at(folder, start)) for start in range(0, count, PART)], count
        for path in self.parts:
            if not is_whole(Path(path)):
                raise ValueError(f"all machines of a run must see the folder of its samples, got no {path}.")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Sample:
        if number >= self.count:
            raise IndexError(number)  # ends a plain loop over the samples
        part = opened(self.parts[number // PART])
        return {key: part.get_slice(key)[number % PART] for key in part.keys()}

    def shapes(self) -> list[tuple[int, ...]]:
        """Of each part, what its samples' largest tensor has for height and width."""
        slices = ([part.get_slice(key).get_shape() for key in part.keys()] for part in map(opened, self.parts))
        return [max((tuple(shape[-2:]) for shape in each), key=lambda sides: sides[0] * sides[1]) for each in slices]


class PoolDraws(Dataset):
    """Endless passes over a pool, each in an order of its own; item ``i`` is a pure function of (seed, i).

    Numbers come in fp32.  All samples of a block have one shape.
    """

    def __init__(self, pool: Pool, length: int, seed: int, block: int):
        self.pool, self.length = pool, length
        shapes = np.repeat(np.unique(pool.shapes(), axis=0, return_inverse=True)[1].ravel(), PART)[: len(pool)]
        groups = [np.flatnonzero(shapes == shape).astype(np.int32) for shape in range(shapes.max() + 1)]
        self.order = Order(groups, block, seed)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if index >= self.length:
            raise IndexError(index)  # ends a plain loop over the samples
        sample = self.pool[self.order.at(*self.order.place(index))]
        return {key: values.float() for key, values in sample.items()} | {"number": torch.tensor(index)}
