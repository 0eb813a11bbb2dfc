"""Write a folder of pictures, with their entities and mattes, as WebDataset shards for training at scale.

    python -m training.prepare_shards --images photos --out shards/photos --per-shard 1000
    python -m training.train_yoeo_stage1 --images 'shards/photos-{000000..000011}.tar' ...
    python -m training.train_eradiff --images shards ...                            # all shards of a folder

The files go in as they are, in an order that is drawn, without the pictures that the prepare scripts could not read;
beside each shard lies an index.  A killed run goes on with the shards that are missing, and whoever starts it a second
time shares the work.  ``training.data.shards`` says what a shard holds and how it is read.
"""

import argparse
from hashlib import sha256
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm import tqdm
from webdataset import TarWriter

from training.data.flag_values import natural, positive
from training.data.shard_index import index_of
from training.data.sharing import agree, is_first, pieces
from training.data.sources import Folder
from training.running.endings import run_script
from training.running.flags import add_debug_flag, check_paths


def write_shards(images: str | Path, out: str | Path, per_shard: int, seed: int = 0) -> int:
    """Write a prepared folder as ``OUT-000000.tar`` and so on, its files as they are; gives the number of pictures.

    Shards that are there are kept.  Raises ValueError where they hold other pictures, or those in another order.
    """
    folder, out = Folder(images), Path(out)
    names = sha256(b"\n".join(folder.names.tolist())).hexdigest()[:16]
    facts = {"pictures": len(folder), "names": names, "per_shard": per_shard, "seed": seed}
    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{out}.lock"):
        remedy = "Give another --out, or delete them and that file."
        agree(Path(f"{out}.json"), facts, f"{out}.json names other shards", remedy)
    order = np.random.default_rng(seed).permutation(len(folder))
    shards = [order[start : start + per_shard] for start in range(0, len(folder), per_shard)]
    for number in tqdm(pieces(len(shards), Path(f"{out}.locks")), desc="writing", disable=not is_first()):
        shard = Path(f"{out}-{number:06d}.tar")
        if not shard.exists():
            write_shard(folder, shards[number], number * per_shard, shard)
        index_of(shard)
    return sum(len(index_of(Path(f"{out}-{number:06d}.tar"))) for number in range(len(shards)))


def write_shard(folder: Folder, numbers: np.ndarray, first: int, path: Path) -> None:
    """The pictures of these numbers, their keys counted from ``first``; the file is there whole or not at all.

    What cannot be read is named and left out.
    """
    scratch = path.with_suffix(".tmp")
    with TarWriter(str(scratch), encoder=False) as writer:
        for key, number in enumerate(numbers.tolist(), start=first):
            files = folder[number]
            ending = files.picture.suffix[1:].lower()
            parts = {ending: files.picture, "entities.png": files.entities, "entities.json": files.facts}
            parts["matte.png"] = files.matte
            try:
                stored = {kind: part.read_bytes() for kind, part in parts.items() if part is not None}
            except OSError as error:
                tqdm.write(f"left out {files.name}: unreadable: {error}")
                continue
            writer.write({"__key__": f"{key:09d}"} | stored)
    scratch.replace(path)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder, prepared by training.prepare_entities or _mattes")
    parser.add_argument("--out", required=True, help="path and first part of the name of the shards")
    parser.add_argument("--per-shard", type=positive, default=1000, help="pictures a shard (%(default)s)")
    parser.add_argument("--seed", type=natural, default=0, help="of the order (%(default)s)")
    add_debug_flag(parser)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    check_paths(args, ("images",))
    count = write_shards(args.images, args.out, args.per_shard, args.seed)
    if is_first():
        print(f"wrote {count} pictures to {args.out}-*.tar")


if __name__ == "__main__":
    run_script(parse_args, main)
