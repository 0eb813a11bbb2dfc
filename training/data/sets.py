"""The sets that a script's flags ask for, each made by the script's own ``make(folder, count, seed, block)``."""

import argparse
from collections.abc import Callable
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from training.data.encoding import Encoded, Encoder
from training.data.flag_values import natural
from training.data.pools import PART, Pool, PoolDraws, claim, encode_parts

# so many samples of the pictures in a folder, all of a ``block`` in one shape; None: all of them squares
Make = Callable[[str, int, int, int | None], Dataset]


def add_pool_flags(parser: argparse.ArgumentParser) -> None:
    """Whether a run's samples are encoded once, and where they are kept."""
    parser.add_argument("--cache-latents", type=natural, default=0, help="samples of a set, encoded once; 0: off")
    parser.add_argument("--pool", help="folder that keeps them, for several runs on the same ones; left out: --out")
    parser.add_argument("--pool-seed", type=natural, help="what they are drawn with; left out: --seed")


def samples_of(
    make: Make,
    encode: Callable[[dict[str, Tensor]], Encoded],
    encoder: Encoder,
    args: argparse.Namespace,
    accelerator: Accelerator,
    pool: str = "latents",
    shift: int = 0,
) -> Dataset:
    """All samples of a run, those of a global batch in one shape.

    With ``--cache-latents`` draws from so many, which all processes encode once, into the folder ``pool`` in ``--pool``
    or in the run folder.  ``shift`` is added to ``--seed``: sets that a run shows side by side come in orders of their
    own.  Raises ValueError where samples of another kind lie there.
    """
    batch = args.batch_size * accelerator.num_processes
    length = args.steps * args.gradient_accumulation * batch
    if not args.cache_latents:
        return make(args.images, length, args.seed + shift, batch)
    seed = args.seed if args.pool_seed is None else args.pool_seed
    samples, folder = make(args.images, args.cache_latents, seed, PART), Path(args.pool or args.out) / pool
    with accelerator.main_process_first():
        claim(folder, samples.facts() | encoder.facts() | {"precision": args.mixed_precision})
    places = accelerator.process_index, accelerator.num_processes
    encode_parts(samples, encode, folder, args.batch_size, args.workers, *places)
    accelerator.wait_for_everyone()
    return PoolDraws(Pool(folder, len(samples)), length, args.seed + shift, batch)


def held_out_of(make: Make, args: argparse.Namespace, count: int, seed: int = 1) -> dict[str, Tensor]:
    """So many samples of ``--validation`` as one batch; an empty one without that flag."""
    return all_of(make(args.validation, count, seed, None)) if args.validation else {}


def all_of(samples: Dataset) -> dict[str, Tensor]:
    """A small data set as one batch."""
    return default_collate([samples[index] for index in range(len(samples))])
