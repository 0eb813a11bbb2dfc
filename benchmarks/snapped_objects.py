"""How many marked objects a loose box becomes, with a detector and by their colours.

    python -m benchmarks.snapped_objects --pictures DIR [--detector FILE] [--looser 1.2]

``DIR`` holds pictures, ``NAME.jpg`` or ``NAME.png``, and ``NAME_mask.png``, white over one object.  A box so many times
as large as the one that just holds the object is snapped.  Printed is in how many the intersection over union with the
object is at least 0.6, and the mean of it: with the detector alone, by colours alone, and by both, as Snap Mask to
Entity does it.  The detector sees the whole picture, and with "from near by" a view around the box as well.  *Sundry
Check* is what that node marks where the box is the hole.
"""

import argparse
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from inpainting_core.built_in import NANO_DETECTOR
from inpainting_core.picture_files import read_mask, read_picture, visible_rgb
from yoeo_core.close_check import check_closely
from yoeo_core.close_up import entities_near, together
from yoeo_core.detector import load_detector
from yoeo_core.entities import Entities, sure_entities
from yoeo_core.snapping import Snapped, snap

FOUND = 0.6  # intersection over union


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", required=True, help="folder of NAME.jpg or NAME.png, and NAME_mask.png")
    parser.add_argument("--detector", default=str(NANO_DETECTOR), help="its file or folder (the built-in one)")
    parser.add_argument("--looser", type=float, default=1.2, help="sides of the box, of the object's own (%(default)s)")
    return parser.parse_args(argv)


def loose_box(thing: Tensor, looser: float) -> Tensor:
    """The box around a thing ``[h, w]``, so many times as large, within the picture."""
    (top, left), (bottom, right) = thing.nonzero().aminmax(dim=0)
    box = torch.zeros_like(thing)
    spans = []
    for first, last, length in ((top, bottom, thing.shape[0]), (left, right, thing.shape[1])):
        extra = (looser - 1) / 2 * (int(last) - int(first) + 1)
        spans.append(slice(max(0, round(int(first) - extra)), min(length, round(int(last) + 1 + extra))))
    box[tuple(spans)] = True
    return box


def overlap(snapped: Snapped, thing: Tensor) -> float:
    """Intersection over union of what a box became; 0 where it stayed."""
    if snapped.scores == (None,) and not any(snapped.cut):
        return 0.0
    return shared(snapped.mask[0, 0] > 0, thing)


def shared(mask: Tensor, thing: Tensor) -> float:
    """Intersection over union of two masks ``[h, w]``."""
    return ((mask & thing).sum() / (mask | thing).sum()).item()


def main(args: argparse.Namespace) -> None:
    detector, folder = load_detector(args.detector), Path(args.pictures)
    ways = "the detector", "the detector, from near by", "colours", "both", "Sundry Check"
    overlaps: dict[str, list[float]] = {way: [] for way in ways}
    for path in sorted(folder.glob("*_mask.png")):
        stem = path.name.removesuffix("_mask.png")
        picture = visible_rgb(read_picture(next(folder.glob(f"{stem}.[jp][pn]g"))))
        thing = read_mask(path)[0, 0] > 0.5
        box = loose_box(thing, args.looser)[None, None].float()
        with torch.no_grad():
            whole = detector(picture)
            found = sure_entities(whole, 0, thing.shape)
            seen = together(found, entities_near(box, picture, detector))
            checked = check_closely(picture, box, whole, detector).sundry_mask
        nothing = Entities(found.masks[:0], found.scores[:0])
        plain = torch.full_like(picture, 0.5)  # no colours set anything apart
        overlaps["the detector"].append(overlap(snap(box, found, plain), thing))
        overlaps["the detector, from near by"].append(overlap(snap(box, seen, plain), thing))
        overlaps["colours"].append(overlap(snap(box, nothing, picture), thing))
        overlaps["both"].append(overlap(snap(box, seen, picture), thing))
        overlaps["Sundry Check"].append(shared(checked, thing))
    print(f"{len(overlaps['both'])} objects, a box of {args.looser} times their size\n")
    print("| by | found | mean overlap |\n|---|---|---|")
    for name, each in overlaps.items():
        print(f"| {name} | {sum(one >= FOUND for one in each)} | {mean(each):.2f} |")


if __name__ == "__main__":
    main(parse_args())
