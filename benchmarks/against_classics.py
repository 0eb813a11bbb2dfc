"""How near the built-in model comes to the true background, beside classical methods.

    pip install opencv-python-headless pypatchmatch
    python -m benchmarks.against_classics --pairs DIR [--yoeo FILE] [--eradiff FILE] [--sheet compare.png]

``DIR`` holds ``NAME.png`` (with the object), ``NAME_mask.png`` (white where to erase) and ``NAME_gt.png`` (without the
object); ``benchmarks.real_holes`` makes such a folder.  Printed for each method, median and mean over the pairs: PSNR
in dB inside the mask grown by 5 px, ST-LPIPS (Ghildyal & Liu 2022) of the mask's box and a quarter more around it at
256 px, and seconds a picture.  Every method gets the same grown mask.
"""

import argparse
from functools import partial
from pathlib import Path
from statistics import mean, median
from time import perf_counter

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.around_the_hole import perceptual_in, psnr_in
from eradiff_core import pipeline as eradiff
from evaluation.peers import GROW_PX, Method, navier_stokes, patchmatch, telea
from inpainting_core.built_in import BUILT_IN, NANO_OF
from inpainting_core.choosing import Choice
from inpainting_core.copying import FINER
from inpainting_core.engine import DiffusersEngine, load_engine
from inpainting_core.erasing import erase_holes
from inpainting_core.exemplar import complete
from inpainting_core.latents import masked_picture
from inpainting_core.masks import as_mask, grow
from inpainting_core.picture_files import read_mask, read_picture, visible_rgb
from training.networks.perceptual import perceptual_net
from training.running.sheets import save_sheet
from yoeo_core import pipeline as yoeo


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", required=True, help="folder of NAME.png, NAME_mask.png, NAME_gt.png")
    for method, name in NANO_OF.items():
        parser.add_argument(f"--{method}", default=str(BUILT_IN[name]), help=f"its checkpoint ({name})")
    parser.add_argument("--sheet", help="write a picture of every pair and method here")
    return parser.parse_args(argv)


def copied_alone(resolution: int, image: Tensor, mask: Tensor) -> Tensor:
    """Every crop completed without a network."""
    seeded = Choice()
    return erase_holes(
        image,
        mask,
        lambda view, hole: complete(view, hole, seeded.generators[0]),
        resolution=resolution,
        grow_px=0,
        context=0.5,
        choice=seeded,
    ).image


def methods(yoeo_engine: DiffusersEngine, eradiff_engine: DiffusersEngine) -> dict[str, Method]:
    """Everything that is compared.  The mask comes grown already, so ours do not grow it again.

    "Continued smoothly" is what the nano is shown in its hole, "copied alone" what lends its fill structure and detail:
    what it adds to these is its own.
    """
    two, one = (partial(yoeo.erase, yoeo_engine, steps=steps, grow_px=0) for steps in (2, 1))
    path = partial(eradiff.erase, eradiff_engine, grow_px=0)
    return {
        "untouched": lambda image, mask: image,
        "Telea": telea(),
        "Navier-Stokes": navier_stokes(),
        "PatchMatch": patchmatch(),
        "continued smoothly": lambda image, mask: masked_picture(image, mask, "continued"),
        "copied alone": partial(copied_alone, FINER * yoeo_engine.resolution),
        "ours, YOEO 2 steps": lambda image, mask: two(image, mask).image,
        "ours, YOEO 1 step": lambda image, mask: one(image, mask).image,
        "ours, EraDiff 12 steps, SRA": lambda image, mask: path(image, mask).image,
        "ours, EraDiff 12 steps, plain": lambda image, mask: path(image, mask, attention="off").image,
    }


def read_pair(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Picture, grown mask and truth of one pair."""
    image, truth = (visible_rgb(read_picture(path.with_name(f"{path.stem}{ending}.png"))) for ending in ("", "_gt"))
    mask = read_mask(path.with_name(f"{path.stem}_mask.png"))
    return image, grow(as_mask(mask, *image.shape[-2:]), GROW_PX), truth


def main(args: argparse.Namespace) -> None:
    names = sorted(path.with_name(path.name.replace("_gt", "")) for path in Path(args.pairs).glob("*_gt.png"))
    compared = methods(load_engine(args.yoeo), load_engine(args.eradiff))
    distances = {name: perceptual_net(name) for name in ("stlpips_alex", "stlpips_vgg")}
    scores, sheets = {name: [] for name in compared}, []
    for path in names:
        image, mask, truth = read_pair(path)
        results = []
        for name, method in compared.items():
            started = perf_counter()
            results.append(method(image, mask))
            seconds = perf_counter() - started
            found = [perceptual_in(distance, mask, results[-1], truth) for distance in distances.values()]
            scores[name].append((psnr_in(mask, results[-1], truth), *found, seconds))
        sheets.append(torch.cat([*results, truth]))
    print(f"{len(names)} pairs, median / mean\n")
    print("| | PSNR in the hole, dB | ST-LPIPS alex | ST-LPIPS vgg | s a picture |\n|---|---|---|---|---|")
    for name, rows in scores.items():
        psnr, *far, seconds = zip(*rows, strict=True)
        cells = [f"{median(psnr):.1f} / {mean(psnr):.1f}", *[f"{median(x):.3f} / {mean(x):.3f}" for x in far]]
        print(f"| {name} | {' | '.join(cells)} | {median(seconds):.2f} |")
    if args.sheet:
        size = (180, 320)
        rows = [interpolate(row, size, mode="bilinear", antialias=True) for row in sheets]
        save_sheet(rows, args.sheet)


if __name__ == "__main__":
    main(parse_args())
