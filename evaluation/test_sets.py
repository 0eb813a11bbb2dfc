"""Lay out a published test set by the folder rule, from the files as their authors publish them.

    python -m evaluation.test_sets coco --from COCO --out sets/coco
    python -m evaluation.test_sets open-images --from OPEN_IMAGES --out sets/open_images --seed 0

``sets/coco`` gets ``input``, ``mask``, and where the set has them ``truth`` and ``effect``; ``boxes.csv`` with the
annotated boxes; ``list.csv`` with the SHA-256 of every picture and mask, to publish; ``set.json`` with the counts, what
was refused and why.  Downloading is yours: every set has terms of its own.

What a set is made of and which of its files are known at second hand only: docs/evaluate.md.
"""

import argparse
import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from evaluation.items import Item, Refusal
from evaluation.published_sets import PAPERS, SEED, SETS
from inpainting_core.masks import as_mask
from inpainting_core.picture_files import read_mask, read_picture


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.test_sets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=SETS)
    parser.add_argument("--from", dest="source", required=True, type=Path, help="folder with the files as published")
    parser.add_argument("--out", required=True, type=Path, help="folder of the set; must be new or empty")
    parser.add_argument("--seed", type=int, default=SEED, help="of what is drawn from Open Images (%(default)s)")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> int:
    """Write the set; 1 where nothing of it could be used, 2 where its files are not as published."""
    try:
        if args.out.exists() and any(args.out.iterdir()):
            raise ValueError(f"--out must be new or empty, got {args.out}.")
        report = build(SETS[args.name](args.source, args.seed), args.out)
    except (ValueError, KeyError, OSError) as err:
        why = f"it has no {err}" if isinstance(err, KeyError) else err
        print(f"evaluation.test_sets: {args.name} cannot be read from {args.source}: {why}", file=sys.stderr)
        return 2
    report = {"set": args.name, "seed": args.seed, "reported_by_the_papers": PAPERS.get(args.name)} | report
    (args.out / "set.json").write_text(json.dumps(report, indent=1))
    papers = f"; the papers report {PAPERS[args.name]:,}" if args.name in PAPERS else ""
    print(f"{report['pictures']:,} pictures, {report['refused']:,} refused{papers}.")
    return int(report["pictures"] == 0)


def build(items: Iterable[Item | Refusal], out: Path) -> dict:
    """Copy every usable item; counts, the list's checksum, and every refusal with its reason."""
    rows, boxes, refused = [], [], {}
    for item in tqdm(items, unit="picture"):
        if isinstance(item, Refusal):
            refused[item.name] = item.reason
            continue
        try:
            rows.append((item.name, *lay_down(item, out)))
        except (ValueError, OSError) as err:
            refused[item.name] = str(err)
            continue
        boxes += [(item.name, *item.box)] if item.box else []
    out.mkdir(parents=True, exist_ok=True)
    write_rows(out / "list.csv", ("name", "picture_sha256", "mask_sha256"), rows)
    if boxes:
        write_rows(out / "boxes.csv", ("name", "left", "top", "right", "bottom"), boxes)
    checksum = sha256((out / "list.csv").read_bytes()).hexdigest()
    return {"pictures": len(rows), "refused": len(refused), "list_sha256": checksum, "refusals": refused}


def lay_down(item: Item, out: Path) -> tuple[str, str]:
    """Write one item's files; the hashes of its picture and of its mask's pixels.

    Raises ValueError for a picture, truth or mask that cannot be read or do not fit together.
    """
    size = read_picture(item.picture).image.shape[-2:]
    masks = {"mask": hole_of(item.mask, size)} | ({"effect": hole_of(item.effect, size)} if item.effect else {})
    if item.truth and read_picture(item.truth).image.shape[-2:] != size:
        raise ValueError(f"{item.truth.name} is not of its picture's size")
    for kind, path in (("input", item.picture), ("truth", item.truth)):
        if path:
            shutil.copyfile(path, target(out, kind, item.name, path.suffix))
    for kind, hole in masks.items():
        Image.fromarray(hole.astype(np.uint8) * 255).save(target(out, kind, item.name, ".png"))
    return sha256(item.picture.read_bytes()).hexdigest(), sha256(np.packbits(masks["mask"]).tobytes()).hexdigest()


def target(out: Path, kind: str, name: str, suffix: str) -> Path:
    path = out / kind / f"{name}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def hole_of(mask: Path | Callable[[], np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """A mask at its picture's size, bool.  Raises ValueError for one without a hole or without surroundings."""
    if callable(mask):
        hole = mask()
        if hole.shape != tuple(size):
            raise ValueError(f"its annotation is for {hole.shape}, its picture is {tuple(size)}")
    else:
        hole = as_mask(read_mask(mask), *size)[0, 0].numpy() > 0
    if not 0 < hole.mean() < 1:
        raise ValueError("its mask must hold a hole and leave surroundings")
    return hole


def write_rows(path: Path, columns: tuple[str, ...], rows: list[tuple]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([columns, *rows])


if __name__ == "__main__":
    sys.exit(main(parse_args()))
