"""How well an object's effects are found, and what an erased picture gains by it, beside a band of a fixed width.

    python -m benchmarks.effect_masks --pairs DIR [--bands 4 8 16] [--seeds 0 1 2] [--out sheet.png]

``DIR`` holds ``NAME.png`` (with the object), ``NAME_mask.png`` (white over the object), ``NAME_gt.png`` (without the
object) and ``NAME_effect.png`` (white where the two pictures differ).  The mask is given as it is, grown by a band of
so many pixels, grown by what is found (Grow Mask to Effects), and with the true effects.  Printed are means over the
pairs: intersection over union of what was added with the true effects beyond the mask, the part of these that is
covered, the size of what was added as a part of the mask, and PSNR in dB in object and effects after the built-in
nano's YOEO has erased; last, what is left of the effects themselves: the result's error there, projected onto what they
did to the picture, 1 where nothing was erased.  What is added knows no chance, but erasing does: of several seeds mean
and standard deviation are printed.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.around_the_hole import psnr_in
from inpainting_core.built_in import BUILT_IN, NANO
from inpainting_core.effects import add_effects
from inpainting_core.engine import load_engine
from inpainting_core.masks import as_mask, grow
from inpainting_core.picture_files import read_mask, read_picture, visible_rgb
from training.running.sheets import save_sheet
from yoeo_core import pipeline as yoeo

COLUMNS = ("iou", "covered", "added", "psnr", "shadow_left")
Pair = tuple[Tensor, Tensor, Tensor, Tensor]  # picture, mask, truth, and the true effects beyond the mask
Grown = Callable[[Pair], Tensor]  # a pair to what is added to its mask, [1, 1, h, w]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", required=True, help="folder of NAME.png and its _mask, _gt and _effect")
    parser.add_argument("--names", default="*", help="which of them, as a pattern of file names (all)")
    parser.add_argument("--bands", type=int, nargs="+", default=[4, 8, 12, 16, 20, 24, 32], help="px (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the erasing (%(default)s)")
    parser.add_argument("--out", help="write a sheet of the pairs here: what was found, and the last seed's erasing")
    return parser.parse_args(argv)


def read_pair(path: Path) -> Pair:
    """The pair whose effects lie in ``NAME_effect.png``."""
    stem = path.name.removesuffix("_effect.png")
    image, truth = (visible_rgb(read_picture(path.with_name(f"{stem}{ending}.png"))) for ending in ("", "_gt"))
    size = image.shape[-2:]
    mask, effect = (as_mask(read_mask(path.with_name(f"{stem}_{kind}.png")), *size) for kind in ("mask", "effect"))
    return image, mask, truth, effect * (1 - mask)


def rows_of(bands: list[int]) -> dict[str, Grown]:
    """Every row's way to add to a mask."""
    rows: dict[str, Grown] = {"the mask alone": lambda pair: torch.zeros_like(pair[1])}
    rows |= {f"a band of {band} px": partial(in_band, band) for band in bands}
    rows["what is found"] = lambda pair: add_effects(*pair[:2]).effect
    rows["the true effects"] = lambda pair: pair[3]
    return rows


def in_band(band: int, pair: Pair) -> Tensor:
    return grow(pair[1], band) - pair[1]


def score(added: Tensor, erased: Tensor, pair: Pair) -> dict[str, float]:
    """``COLUMNS`` of one pair."""
    image, mask, truth, effect = pair
    shadow, left = ((picture - truth) * effect for picture in (image, erased))
    both, union = (added * effect).sum(), torch.maximum(added, effect).sum()
    return {
        "iou": float(both / union.clamp_min(1)),
        "covered": float(both / effect.sum()),
        "added": float(added.sum() / mask.sum()),
        "psnr": psnr_in(mask + effect, erased, truth),
        "shadow_left": float((left * shadow).sum() / shadow.square().sum()),
    }


def main(args: argparse.Namespace) -> None:
    engine = load_engine(BUILT_IN[NANO])
    pairs = [read_pair(path) for path in sorted(Path(args.pairs).glob(f"{args.names}_effect.png"))]
    sheet = []
    print(f"{len(pairs)} pairs, seeds {args.seeds}\n")
    print(f"| added to the mask | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}")
    for name, way in rows_of(args.bands).items():
        added, means = [way(pair) for pair in pairs], []
        for seed in args.seeds:
            grown = [(pair[0], pair[1] + more) for pair, more in zip(pairs, added, strict=True)]
            erased = [yoeo.erase(engine, *one, seed=seed).image for one in grown]
            scores = [score(*one) for one in zip(added, erased, pairs, strict=True)]
            means.append({column: mean(one[column] for one in scores) for column in COLUMNS})
        print(f"| {name} | {' | '.join(cell(means, column) for column in COLUMNS)} |", flush=True)
        sheet.append([shown(*one) for one in zip(added, erased, pairs, strict=True)])
    if args.out:
        save_sheet([torch.cat(row, 3) for row in sheet], args.out)


def cell(means: list[dict[str, float]], column: str) -> str:
    values = [one[column] for one in means]
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{mean(values):.3f}"


def shown(added: Tensor, erased: Tensor, pair: Pair) -> Tensor:
    """The picture with mask (red), what was added (green) and the true effects' edge (blue), beside the erased one."""
    image, mask, _, effect = pair
    edge = grow(mask + effect, 2) - mask - effect
    layers = torch.cat([mask, added, edge], 1)
    return interpolate(torch.cat([image + 0.4 * (layers - image) * layers.amax(1, True), erased], 3), scale_factor=0.5)


if __name__ == "__main__":
    main(parse_args())
