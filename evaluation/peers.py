"""Erase a set with classical methods and ours in one run, each with the same grown mask.

    python -m evaluation.peers --set SET --out erased
    python -m evaluation.score --set SET --out scores --results telea=erased/telea patchmatch=erased/patchmatch \\
        yoeo=erased/yoeo eradiff=erased/eradiff

``erased/telea/a/dog.png`` and so on, a table with seconds beside them, and ``erased/sheet.jpg`` with all side by side.
``stock`` is ordinary inpainting, EraDiff's steps without its attention; ``attentive-eraser`` is that method's published
procedure restated (evaluation/attentive_eraser.py); both take ``--stock``, or without it EraDiff's checkpoint.
A run that was stopped goes on where it stopped; what a method cannot erase is named, and the rest goes on.
"""

import argparse
import csv
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from eradiff_core import pipeline as eradiff
from evaluation.attentive_eraser import STEPS, STRENGTH, AttentiveEraser
from evaluation.contact_sheet import write_sheet
from evaluation.flags import add_set, settle_set
from evaluation.folders import TIMES, Case, find_cases, seconds_in
from evaluation.saying import say
from evaluation.scene import Given
from inpainting_core.built_in import BUILT_IN, NANO_OF
from inpainting_core.checkpoint import read_checkpoint
from inpainting_core.engine import load_engine
from inpainting_core.masks import grow
from inpainting_core.picture_files import read_picture, write_picture
from inpainting_core.protocol import Engine
from yoeo_core import pipeline as yoeo

GROW_PX = 5
RADIUS_PX = 5  # of what OpenCV's methods look at
PATCH_PX = 5
Method = Callable[[Tensor, Tensor], Tensor]  # a picture [1, 3, h, w] in [0, 1] and its mask -> the erased picture


def classic(inpaint: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Method:
    """An 8-bit method of [h, w, 3] pictures and [h, w] masks as one of tensors."""

    def method(image: Tensor, mask: Tensor) -> Tensor:
        pixels = (image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        filled = inpaint(pixels, (mask[0, 0].numpy() * 255).astype(np.uint8))
        return torch.from_numpy(filled).permute(2, 0, 1)[None].float() / 255

    return method


def telea() -> Method:
    import cv2

    return classic(lambda pixels, mask: cv2.inpaint(pixels, mask, RADIUS_PX, cv2.INPAINT_TELEA))


def navier_stokes() -> Method:
    import cv2

    return classic(lambda pixels, mask: cv2.inpaint(pixels, mask, RADIUS_PX, cv2.INPAINT_NS))


def patchmatch() -> Method:
    from patchmatch import patch_match

    return classic(lambda pixels, mask: patch_match.inpaint(pixels, mask[..., None], patch_size=PATCH_PX))


def object_remove() -> Method:
    """The package of that name, which picks one of its own engines by the hole."""
    from object_remove import RemoveObjectJob

    def inpaint(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        filled = RemoveObjectJob(pixels, device=None).run(mask, refine_mask=False).image
        return np.where(mask[..., None] > 0, (filled * 255).round().astype(np.uint8), pixels)

    return classic(inpaint)


def ours(erase: Callable, engine: Engine, **settings) -> Method:
    """One of our pipelines; the mask comes grown already."""
    made = partial(erase, engine, grow_px=0, **settings)
    return lambda image, mask: made(image, mask).image


def attentive_eraser(checkpoint: Path, device: str) -> Method:
    engine = AttentiveEraser.of(read_checkpoint(checkpoint), device)
    return ours(eradiff.erase, engine, steps=STEPS, strength=STRENGTH, attention="off")


METHODS: dict[str, Callable[[argparse.Namespace], Method]] = {
    "untouched": lambda args: lambda image, mask: image,
    "telea": lambda args: telea(),
    "navier-stokes": lambda args: navier_stokes(),
    "patchmatch": lambda args: patchmatch(),
    "object-remove": lambda args: object_remove(),
    "yoeo": lambda args: ours(yoeo.erase, load_engine(args.yoeo, device=args.device)),
    "eradiff": lambda args: ours(eradiff.erase, load_engine(args.eradiff, device=args.device)),
    "stock": lambda args: ours(eradiff.erase, load_engine(args.stock, device=args.device), attention="off"),
    "attentive-eraser": lambda args: attentive_eraser(args.stock, args.device),
}
GET = {"object_remove": "pip install object-remove"}  # a module that `evaluate` does not bring -> the line that gets it


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_set(parser)
    parser.add_argument("--out", required=True, type=Path, help="folder for a folder a method")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS)[1:], help="left out: all but the first"
    )
    for method, name in NANO_OF.items():
        parser.add_argument(f"--{method}", type=Path, default=BUILT_IN[name], help=f"its checkpoint ({name})")
    parser.add_argument("--stock", type=Path, help="checkpoint of stock and attentive-eraser; left out: EraDiff's")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps, ... (%(default)s)")
    args = settle_set(parser, parser.parse_args(argv))
    args.stock = args.stock or args.eradiff
    return args


def main(args: argparse.Namespace) -> int:
    """Erase what is not erased yet and write the sheet; 1 where something could not be erased, 2 for wrong flags."""
    try:
        cases, problems = find_cases(args.pictures, args.masks, {})
    except (ValueError, OSError) as err:
        say(f"evaluation.peers: {err}")
        return 2
    for name in args.methods:
        folder = args.out / name
        try:
            work = unfinished(cases, folder)
            problems += erase_all(METHODS[name](args), work, folder) if work else []
        except ModuleNotFoundError as err:
            line = GET.get(err.name, 'pip install ".[evaluate]"')
            problems.append(f"{name} is left out: {err}. Get it: {line}")
        except (ValueError, OSError) as err:
            problems.append(f"{name} is left out: {err}")
    for problem in problems:
        say(problem)
    write_sheet(args.out / "sheet.jpg", cases, {name: args.out / name for name in args.methods})
    print(f"see {args.out / 'sheet.jpg'}")
    return int(bool(problems))


def unfinished(cases: list[Case], folder: Path) -> list[Case]:
    """The cases that have no result here yet.  Raises ValueError for a table that cannot be read."""
    done = {name for name in seconds_in(folder) if (folder / f"{name}.png").exists()}
    return [case for case in cases if case.name not in done]


def erase_all(method: Method, cases: list[Case], folder: Path, grow_px: float = GROW_PX) -> list[str]:
    """Erase cases with one method, which is given the mask grown so far; a sentence for each that could not be."""
    problems = []
    for case in tqdm(cases, desc=folder.name, unit="picture"):
        try:
            seconds = erase_one(method, case, folder / f"{case.name}.png", grow_px)
            note(folder, f"{case.name}.png", seconds)
        except (ValueError, OSError) as err:
            problems.append(f"{case.name}, {folder.name}: {err}")
    return problems


def erase_one(method: Method, case: Case, target: Path, grow_px: float) -> float:
    """Write one result and return the seconds that erasing took."""
    given = Given.read(case)
    mask = grow(given.mask, grow_px)
    started = perf_counter()
    result = method(given.picture, mask)
    seconds = perf_counter() - started
    changed = (result != given.picture).any(1, keepdim=True).float()
    target.parent.mkdir(parents=True, exist_ok=True)
    write_picture(target, result, like=read_picture(case.picture), changed=changed)
    return seconds


def note(folder: Path, result: str, seconds: float) -> None:
    """A row of the table that the scores read their seconds from."""
    path = folder / TIMES
    new = not path.exists()
    with open(path, "a", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([["result", "seconds"]] * new + [[result, f"{seconds:.3f}"]])


if __name__ == "__main__":
    sys.exit(main(parse_args()))
