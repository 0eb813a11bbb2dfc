"""Show how an eraser comes to its fill: where the hole looks, with and without SRA, and its path step by step.

    python -m evaluation.mechanism --image dog.jpg --mask dog_mask.png --model nano --out mechanism
    python -m evaluation.mechanism --method yoeo --image dog.jpg --mask dog_mask.png --model yoeo.safetensors --out M

``mechanism/attention.png`` is EraDiff's Fig. 8: for every token grid of the UNet and a few steps, how much the hole
looks at itself and at its surroundings.  ``path.png`` is the picture that every step takes for the end.
``attention.csv`` has the hole's attention to itself in every layer at every step.  All are of one crop around the hole,
the network's own picture with nothing laid over it.
"""

import argparse
import csv
import sys
from pathlib import Path

import torch
from torch import Tensor

from eradiff_core import pipeline as eradiff
from eradiff_core.attention import MODES
from evaluation.mechanism_pictures import Cell, heat_map, mean_weights, sheet
from evaluation.watching import Look, WatchedEngine
from inpainting_core.built_in import BUILT_IN, NANO_OF
from inpainting_core.checkpoint import read_checkpoint
from inpainting_core.crop import crop_mask, crop_picture, plan_crop
from inpainting_core.masks import as_mask, bounding_boxes, grow
from inpainting_core.picture_files import read_mask, read_picture, visible_rgb
from inpainting_core.planning import surroundings
from yoeo_core import consistency
from yoeo_core import pipeline as yoeo

GROW_PX, CONTEXT = 5, 0.5  # as the nodes have them
STEPS = {"eradiff": 12, "yoeo": 2}
SHOWN = 6  # steps
PLAIN = "off"
CALLED = {"rectified": "SRA", "strict": "SRA, strict", "off": "plain attention"}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.mechanism", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", required=True, type=Path)
    parser.add_argument("--mask", required=True, type=Path, help="white where to erase")
    parser.add_argument("--method", choices=STEPS, default="eradiff", help="(%(default)s)")
    parser.add_argument("--model", required=True, help="nano (the method's own), a checkpoint file or a folder")
    parser.add_argument("--base", type=Path, help="what a UNet alone is laid over")
    parser.add_argument("--out", required=True, type=Path, help="folder for the pictures and the table")
    parser.add_argument(
        "--attention", nargs="+", choices=MODES, help="left out: rectified and off; YOEO has its own alone"
    )
    parser.add_argument("--steps", type=int, help="left out: 12 for eradiff, 2 for yoeo")
    parser.add_argument("--resolution", type=int, help="side in pixels; left out: the model's own")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps, ... (%(default)s)")
    args = parser.parse_args(argv)
    args.steps = STEPS[args.method] if args.steps is None else args.steps
    args.attention = args.attention or ([PLAIN] if args.method == "yoeo" else [MODES[0], PLAIN])
    if args.method == "yoeo" and args.attention != [PLAIN]:
        parser.error("--attention is EraDiff's; YOEO has no other than its own.")
    return args


def main(args: argparse.Namespace) -> int:
    """Erase once for each kind of attention and write what was seen; 2 where that cannot be done."""
    try:
        engine = load(args)
        view, hole = look_at(args.image, args.mask, args.resolution or engine.resolution)
        args.out.mkdir(parents=True, exist_ok=True)
        seen = {mode: watch(engine, view, hole, mode, args) for mode in args.attention}
        write(args.out, view, hole, seen)
    except (ValueError, OSError) as err:
        print(f"evaluation.mechanism: {err}", file=sys.stderr)
        return 2
    print(f"see {args.out / 'attention.png'} and {args.out / 'path.png'}")
    return 0


def load(args: argparse.Namespace) -> WatchedEngine:
    path = BUILT_IN[NANO_OF[args.method]] if args.model == "nano" else Path(args.model)
    return WatchedEngine.of(read_checkpoint(path, args.base and read_checkpoint(args.base)), args.device)


def look_at(picture: Path, mask: Path, resolution: int) -> tuple[Tensor, Tensor]:
    """The crop around the hole, ``[1, 3, h, w]``, and the grown hole in it.  Raises ValueError without a hole."""
    image = visible_rgb(read_picture(picture))
    hole = grow(as_mask(read_mask(mask), *image.shape[-2:]), GROW_PX)
    if not 0 < hole.mean() < 1:
        raise ValueError(f"{mask.name} must hold a hole and leave surroundings.")
    size = tuple(image.shape[-2:])
    crop = plan_crop(surroundings(bounding_boxes(hole[0, 0].int())[0], size, CONTEXT, 0), size, resolution)
    return crop_picture(image, crop), crop_mask(hole, crop)


def watch(
    engine: WatchedEngine, view: Tensor, hole: Tensor, mode: str, args: argparse.Namespace
) -> tuple[list[Look], list[Tensor]]:
    """What one run saw: its looks and its path, the last of which is the fill."""
    generators = [torch.Generator().manual_seed(args.seed)]
    if args.method == "yoeo":
        yoeo.draw_fill(engine, view, hole, consistency.path(args.steps), generators)
    else:
        eradiff.draw_fill(engine, view, hole, eradiff.Walk(args.steps, attention=mode), generators)
    return engine.looks, engine.path


def write(out: Path, view: Tensor, hole: Tensor, seen: dict[str, tuple[list[Look], list[Tensor]]]) -> None:
    """Both pictures and the table."""
    paths = [
        [Cell(CALLED[mode], view), *(Cell(f"step {i}", picture) for i, picture in enumerate(path, 1))]
        for mode, (_, path) in seen.items()
    ]
    sheet(maps(view, hole, seen)).save(out / "attention.png")
    sheet(paths).save(out / "path.png")
    rows = [row_of(mode, look) for mode, (looks, _) in seen.items() for look in looks]
    with open(out / "attention.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("attention", "step", "layer", "rows", "columns", "hole", "at_itself"), *rows])


def maps(view: Tensor, hole: Tensor, seen: dict[str, tuple[list[Look], list[Tensor]]]) -> list[list[Cell]]:
    """A row for each grid and kind of attention, the kinds below one another; the columns are a few steps."""
    runs = [(mode, looks, len(path)) for mode, (looks, path) in seen.items()]
    rows = []
    for grid in dict.fromkeys(look.weights.shape for look in runs[0][1]):
        for mode, looks, steps in runs:
            cells = [Cell(f"{CALLED[mode]}, {grid[0]} x {grid[1]}", view)]
            for step in sorted({round(i * (steps - 1) / (SHOWN - 1)) for i in range(SHOWN)}):
                weights, at_itself = mean_weights(looks, step, grid)
                cells.append(Cell(f"step {step + 1}, at itself {at_itself:.0%}", heat_map(view, hole, weights)))
            rows.append(cells)
    return rows


def row_of(mode: str, look: Look) -> tuple:
    """``hole`` is the hole's share of the tokens, which even attention would pay it."""
    share, at_itself = f"{look.hole.float().mean():.6f}", f"{look.at_itself:.6f}"
    return (mode, look.step + 1, look.layer + 1, *look.weights.shape, share, at_itself)


if __name__ == "__main__":
    sys.exit(main(parse_args()))
