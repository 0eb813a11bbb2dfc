"""Pairs with a known truth and the holes of real objects, for ``benchmarks.against_classics``.

    python -m benchmarks.real_holes --backgrounds DIR --photos DIR --coco instances.json --out DIR [--pairs 112]

Three quarters of the pictures come from ``--backgrounds``, one a motif (``MOTIF_NUMBER.jpg``) before any is taken
twice; the rest are photographs of ``--photos``, where the hole keeps off their own annotated objects.  Into each an
object of another photograph is pasted, cut out along its polygon.  Written are ``NAME.png``, ``NAME_mask.png`` and
``NAME_gt.png``; the half with less detail under the hole is named ``plain_*``, the other ``structured_*``.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from training.data.annotations import Annotations, coco_instances
from training.data.listing import list_pictures
from training.data.reading import read_bounded

SMALLEST = 0.01  # of its photograph: an object that is smaller is no outline worth pasting
SIDES = (0.2, 0.5)  # its longer side in the picture that it is pasted into, of that picture's shorter side
TRIES = 50


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backgrounds", required=True, help="folder of pictures without an object of their own")
    parser.add_argument("--photos", required=True, help="folder of photographs with the annotated objects")
    parser.add_argument("--coco", required=True, help="COCO instances of these photographs")
    parser.add_argument("--out", required=True, help="folder for the pairs")
    parser.add_argument("--pairs", type=int, default=112, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def objects_of(picture: Image.Image, annotated: Annotations, stem: str) -> list[np.ndarray]:
    """The masks of a photograph's objects, ``[h, w]`` bool."""
    return [found.mask for found in annotated[stem](picture.height, picture.width) if not found.crowd]


def one_a_motif(paths: list[Path], rng: np.random.Generator) -> Iterator[Path]:
    """The pictures in a random order, but none of a motif that was taken until every motif was."""
    motifs: dict[str, list[Path]] = {}
    for path in paths:
        motifs.setdefault(path.stem.rpartition("_")[0] or path.stem, []).append(path)
    left = [list(rng.permutation(np.array(group, dtype=object))) for group in motifs.values()]
    while any(left):
        for group in rng.permutation(len(left)):
            if left[group]:
                yield left[group].pop()


def cut_out(photo: Image.Image, mask: np.ndarray, side: int) -> Image.Image:
    """The object alone, its alpha hard, so that its box's longer side is ``side`` pixels."""
    rows, columns = (mask.any(axis).nonzero()[0] for axis in (1, 0))
    box = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    rgba = photo.copy()
    rgba.putalpha(Image.fromarray(mask.astype(np.uint8) * 255))
    scale = side / max(box[2] - box[0], box[3] - box[1])
    size = [max(1, round(length * scale)) for length in (box[2] - box[0], box[3] - box[1])]
    thing = rgba.resize(size, Image.Resampling.LANCZOS, box=box)
    thing.putalpha(thing.getchannel("A").point(lambda alpha: 255 * (alpha > 127)))
    return thing


def place(thing: Image.Image, taken: np.ndarray, rng: np.random.Generator) -> tuple[int, int] | None:
    """Left and top of a random place in the picture where nothing is taken; None where none was found."""
    alpha = np.asarray(thing.getchannel("A")) > 0
    for _ in range(TRIES):
        top, left = (int(rng.integers(whole - part + 1)) for whole, part in zip(taken.shape, alpha.shape, strict=True))
        if not (taken[top : top + alpha.shape[0], left : left + alpha.shape[1]] & alpha).any():
            return left, top
    return None


def detail(picture: Image.Image, mask: Image.Image) -> float:
    """Mean absolute difference of neighbours under the hole, in 8-bit levels."""
    grey = np.asarray(picture.convert("L"), dtype=np.float32)
    steps = np.abs(np.diff(grey, axis=0, append=grey[-1:])) + np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    return float(steps[np.asarray(mask) > 0].mean())


def main(args: argparse.Namespace) -> None:
    rng, annotated = np.random.default_rng(args.seed), coco_instances(args.coco)
    photos = [path for path in list_pictures(args.photos) if path.stem in annotated]
    backgrounds = one_a_motif(list_pictures(args.backgrounds), rng)
    others, made = iter(rng.permutation(np.array(photos, dtype=object))), []
    while len(made) < args.pairs:
        own = len(made) % 4 == 3
        path = next(others if own else backgrounds)
        truth = read_bounded(path)
        taken = np.zeros((truth.height, truth.width), dtype=bool)
        for mask in objects_of(truth, annotated, path.stem) if own else []:
            taken |= mask
        source = photos[rng.integers(len(photos))]
        masks = [mask for mask in objects_of(read_bounded(source), annotated, source.stem) if mask.mean() > SMALLEST]
        if not masks:
            continue
        side = round(rng.uniform(*SIDES) * min(truth.size))
        thing = cut_out(read_bounded(source), masks[rng.integers(len(masks))], side)
        where = place(thing, taken, rng)
        if where is not None:
            picture, mask = truth.copy(), Image.new("L", truth.size)
            picture.paste(thing, where, thing)
            mask.paste(thing.getchannel("A"), where)
            made.append((path.stem, picture, mask, truth))
    order = sorted(range(len(made)), key=lambda i: detail(made[i][3], made[i][2]))
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    for rank, i in enumerate(order):
        stem, *pictures = made[i]
        name = f"{'plain' if rank < len(made) // 2 else 'structured'}_{rank:03d}_{stem}"
        for ending, picture in zip(("", "_mask", "_gt"), pictures, strict=True):
            picture.save(folder / f"{name}{ending}.png")


if __name__ == "__main__":
    main(parse_args())
