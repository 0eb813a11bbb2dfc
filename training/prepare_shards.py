"""Write a folder of pictures, with their entities and mattes, as WebDataset shards for training at scale.

    python -m training.prepare_shards --images photos --out shards/photos --per-shard 1000
    python -m training.train_yoeo_stage1 --images 'shards/photos-{000000..000011}.tar' ...
    python -m training.train_eradiff --images shards ...                            # all shards of a folder

The files go in as they are, in an order that is drawn, without the pictures that the prepare scripts could not read;
beside each shard lies an index.  ``training.data.shards`` says what a shard holds and how it is read.
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm
from webdataset import ShardWriter

from training.data.shard_index import index_of
from training.data.sources import Folder


def write_shards(images: str | Path, out: str | Path, per_shard: int, seed: int = 0) -> int:
    """Write a prepared folder as ``OUT-000000.tar`` and so on, its files as they are; gives the number of pictures."""
    folder = Folder(images)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with ShardWriter(f"{out}-%06d.tar", maxcount=per_shard, maxsize=2**40, verbose=0, encoder=False) as writer:
        order = np.random.default_rng(seed).permutation(len(folder))
        for place, number in enumerate(tqdm(order, desc="writing")):
            files = folder[int(number)]
            ending = files.picture.suffix[1:].lower()
            parts = {ending: files.picture, "entities.png": files.entities, "entities.json": files.facts}
            parts["matte.png"] = files.matte
            stored = {kind: path.read_bytes() for kind, path in parts.items() if path is not None}
            writer.write({"__key__": f"{place:09d}"} | stored)
    for shard in range(-(-len(folder) // per_shard)):
        index_of(Path(f"{out}-{shard:06d}.tar"))
    return len(folder)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder, prepared by training.prepare_entities or _mattes")
    parser.add_argument("--out", required=True, help="path and first part of the name of the shards")
    parser.add_argument("--per-shard", type=int, default=1000, help="pictures a shard (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the order (%(default)s)")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    count = write_shards(args.images, args.out, args.per_shard, args.seed)
    print(f"wrote {count} pictures to {args.out}-*.tar")


if __name__ == "__main__":
    main(parse_args())
