"""How often Sundry Check sees an object that was not erased, and how often one where there is none.

    python -m benchmarks.checked_objects --pictures DIR [--erased DIR] [--detector FILE] [--around 1.25 2] [--grow 5]

``DIR`` holds ``NAME.jpg`` or ``NAME.png``, ``NAME_mask.png``, white over one object, and, where it is known,
``NAME_gt.png``, the picture without the object; ``--erased`` holds what an eraser made of the pictures, by the same
names.  Printed is in how many of each kind a sundry is found in the mask, grown by so many pixels: by a look at the
whole picture alone, and with views around the mask as well, of so many times its longer side.  Beside it, the time of
both in units of the one look, in processor seconds, the median of the pictures and its quartiles.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.interleaved import Ratio, seconds_of
from inpainting_core.built_in import NANO_DETECTOR
from inpainting_core.masks import as_mask, grow
from inpainting_core.picture_files import read_mask, read_picture, visible_rgb
from yoeo_core.check import check
from yoeo_core.close_check import check_closely
from yoeo_core.close_up import AROUND
from yoeo_core.detector import SundryDetector, load_detector

WHOLE = "whole picture"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", required=True, help="folder of NAME.jpg or NAME.png, NAME_mask.png, NAME_gt.png")
    parser.add_argument("--erased", help="folder of the same pictures, erased")
    parser.add_argument("--detector", default=str(NANO_DETECTOR), help="its file or folder (the built-in one)")
    parser.add_argument("--around", type=float, nargs="+", default=[AROUND], help="sides of a view (%(default)s)")
    parser.add_argument("--grow", type=float, default=0, help="pixels by which masks are grown (%(default)s)")
    return parser.parse_args(argv)


def kinds_of(folder: Path, erased: Path | None, stem: str) -> dict[str, Path]:
    """The pictures that there are of one name, by what they show."""
    given = next(folder.glob(f"{stem}.[jp][pn]g"))
    kinds = {"with its object": given, "its truth": folder / f"{stem}_gt.png"}
    kinds |= {"erased": erased / given.name} if erased else {}
    return {kind: path for kind, path in kinds.items() if path.exists()}


def looked_at(detector: SundryDetector, picture: Tensor, hole: Tensor, around: list[float]) -> dict[str, tuple]:
    """Whether each way of looking finds something in the hole, and how many times the one look's time it takes."""

    def near(sides: float) -> bool:
        return not check_closely(picture, hole, detector(picture), detector, around=sides).passed

    ways = {WHOLE: lambda: not check(detector(picture), hole)[0].passed}
    ways |= {f"and a view of {sides:g} times": lambda sides=sides: near(sides) for sides in around}
    return {name: (way(), seconds_of(way), seconds_of(ways[WHOLE])) for name, way in ways.items()}


@torch.inference_mode()
def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    detector, folder, erased = load_detector(args.detector), Path(args.pictures), args.erased and Path(args.erased)
    found: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*_mask.png")):
        for kind, given in kinds_of(folder, erased, path.name.removesuffix("_mask.png")).items():
            picture = visible_rgb(read_picture(given))
            hole = grow(as_mask(read_mask(path), *picture.shape[-2:]), args.grow)
            for name, seen in looked_at(detector, picture, hole, args.around).items():
                found[name][kind].append(seen)
    kinds = [f"{kind}, of {len(seen)}" for kind, seen in found[WHOLE].items()]
    print(f"| looked at | {' | '.join(kinds)} | x one look |\n|---|{'---|' * (len(kinds) + 1)}")
    for name, by_kind in found.items():
        _, took, beside = zip(*(seen for every in by_kind.values() for seen in every), strict=True)
        flags = [str(sum(sees for sees, *_ in every)) for every in by_kind.values()]
        print(f"| {name} | {' | '.join(flags)} | {Ratio.of(list(took), list(beside))} |")


if __name__ == "__main__":
    main(parse_args())
