"""Write a folder of pictures, with what is known of their entities, as WebDataset shards for training at scale.

    python -m training.prepare_shards --images photos --out shards/photos --per-shard 1000
    python -m training.train_yoeo_stage1 --images 'shards/photos-{000000..000011}.tar' ...

The files go in as they are; ``training.data.shards`` says what a shard holds and how it is read.
"""

import argparse
from pathlib import Path

from tqdm import tqdm
from webdataset import ShardWriter

from training.data.listing import MAP, list_pictures


def write_shards(images: str | Path, out: str | Path, per_shard: int) -> int:
    """Write a prepared folder as ``OUT-000000.tar`` and so on, its files as they are; gives the number of pictures."""
    paths = list_pictures(images)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with ShardWriter(f"{out}-%06d.tar", maxcount=per_shard, maxsize=2**40, verbose=0, encoder=False) as writer:
        for number, path in enumerate(tqdm(paths, desc="writing")):
            sample = {"__key__": f"{number:09d}", path.suffix[1:].lower(): path.read_bytes()}
            for kind in ("png", "json"):
                beside = path.with_name(f"{path.stem}{MAP}.{kind}")
                if beside.exists():
                    sample[f"entities.{kind}"] = beside.read_bytes()
            writer.write(sample)
    return len(paths)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder, prepared by training.prepare_entities")
    parser.add_argument("--out", required=True, help="path and first part of the name of the shards")
    parser.add_argument("--per-shard", type=int, default=1000, help="pictures a shard (%(default)s)")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    print(f"wrote {write_shards(args.images, args.out, args.per_shard)} pictures to {args.out}-*.tar")


if __name__ == "__main__":
    main(parse_args())
