"""How both methods bear a wrong mask: one that is shifted, too small or too large, has holes or is a box.

    python -m benchmarks.wrong_masks --validation photos_held_out --out runs/wrong_masks [--cutouts DIR]

Held-out pairs and scores are those of ``benchmarks.eradiff_ablation``, and every fill is what the network makes of the
view alone.  The result, which keeps what the mask left out, is scored in the true hole: the first three columns.  The
last two are of what was asked for, the masked part of the true hole: whether what is left of the object beside the
hole draws the rest of it back.  Printed: mean and standard deviation over the seeds, which draw the noise.  A killed
run goes on.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from benchmarks.eradiff_ablation import held_out_pairs, print_table
from benchmarks.pasted_objects import add_pair_flags, score
from eradiff_core import pipeline as eradiff
from eradiff_core.pipeline import Walk
from inpainting_core.built_in import BUILT_IN, NANO_OF
from inpainting_core.choosing import Choice
from inpainting_core.engine import DiffusersEngine, load_engine
from inpainting_core.masks import dilate
from training.data.poor_masks import POOR
from training.held_out.few_steps import hole_psnr
from training.held_out.pairs import object_left
from training.networks.perceptual import perceptual_net
from yoeo_core import pipeline as yoeo
from yoeo_core.consistency import path

VISIBLE = 4 / 255  # a difference between the two pictures of a pair
COLUMNS = ("psnr", "lpips", "object_left", "psnr_inside", "left_inside")

# What becomes of the right mask, or of the thing's own outline, which lies within it; pixels of 192.
MASKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "right": lambda mask, thing: mask,
    "shifted 6 px": lambda mask, thing: shifted(mask, 6),
    "shifted 12 px": lambda mask, thing: shifted(mask, 12),
    "thing less 2 px": lambda mask, thing: 1 - dilate(1 - thing, 2),
    "thing less 4 px": lambda mask, thing: 1 - dilate(1 - thing, 4),
    "6 px too large": lambda mask, thing: dilate(mask, 6),
    "12 px too large": lambda mask, thing: dilate(mask, 12),
    "with holes": lambda mask, thing: made_poor("holed", mask),
    "a box": lambda mask, thing: made_poor("boxed", mask),
}
DRAWS: dict[str, Callable[[DiffusersEngine, Tensor, Tensor, list[torch.Generator]], Tensor]] = {
    "eradiff": lambda engine, view, hole, noise: eradiff.draw_fill(engine, view, hole, Walk(), noise),
    "yoeo": lambda engine, view, hole, noise: yoeo.draw_fill(engine, view, hole, path(2), noise),
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_pair_flags(parser, pairs=24)
    parser.add_argument("--out", required=True, help="folder for scores.json")
    return parser.parse_args(argv)


def shifted(mask: Tensor, px: int) -> Tensor:
    """The mask so far to the right and down; what leaves the picture is lost."""
    moved = torch.zeros_like(mask)
    moved[..., px:, px:] = mask[..., :-px, :-px]
    return moved


def made_poor(kind: str, masks: Tensor) -> Tensor:
    """Each mask of ``[b, 1, h, w]`` made poor as in training, by its place in the batch."""
    made = [POOR[kind](mask[0].numpy() > 0, np.random.default_rng(place)) for place, mask in enumerate(masks)]
    return torch.from_numpy(np.stack(made))[:, None].to(masks)


def outlines(pictures: dict[str, Tensor]) -> Tensor:
    """Where the things are, ``[b, 1, h, w]``; their shadows count where they are seen."""
    return ((pictures["with_object"] - pictures["original"]).abs().amax(1, keepdim=True) > VISIBLE).float()


def scores_of(result: Tensor, pictures: dict[str, Tensor], masked: Tensor, distance: torch.nn.Module) -> dict:
    """``COLUMNS`` of results that were made with these masks."""
    original, with_object = pictures["original"], pictures["with_object"]
    inside = pictures["mask"] * masked
    asked = [original * (1 - inside) + picture * inside for picture in (result, with_object)]
    return score(result, pictures, distance) | {
        "psnr_inside": hole_psnr(result, original, inside).nanmean().item(),
        "left_inside": object_left(asked[0], original, asked[1]).nanmean().item(),
    }


def filled(method: str, engine: DiffusersEngine, pictures: dict[str, Tensor], masked: Tensor, seed: int) -> Tensor:
    """Every picture with what is masked filled, each with noise of its own, and nothing else changed."""
    results = []
    for number, (view, hole) in enumerate(zip(pictures["with_object"].split(1), masked.split(1), strict=True)):
        fill = DRAWS[method](engine, view, hole, Choice(seed=1000 * seed + number).generators)
        results.append(view * (1 - hole) + fill * hole)
    return torch.cat(results)


def main(args: argparse.Namespace) -> None:
    started, store = perf_counter(), Path(args.out) / "scores.json"
    store.parent.mkdir(parents=True, exist_ok=True)
    rows = json.loads(store.read_text()) if store.exists() else []
    engines = {method: load_engine(BUILT_IN[NANO_OF[method]]) for method in DRAWS}
    distance, pictures = perceptual_net("stlpips_alex"), held_out_pairs(args, engines["yoeo"].resolution)
    for seed in args.seeds:
        for method, engine in engines.items():
            for name, change in MASKS.items():
                row = {"method": method, "mask": name, "pairs": args.pairs, "seed": seed}
                if any(row.items() <= known.items() for known in rows):
                    continue
                masked = change(pictures["mask"], outlines(pictures))
                result = filled(method, engine, pictures, masked, seed)
                rows.append(row | scores_of(result, pictures, masked, distance))
                store.write_text(json.dumps(rows, indent=1))
    order = [(method, name) for method in DRAWS for name in MASKS]
    rows = [row for row in rows if row["pairs"] == args.pairs and row["seed"] in args.seeds]
    rows.sort(key=lambda row: order.index((row["method"], row["mask"])))
    print_table(rows, ("method", "mask"), COLUMNS)
    print(f"{len(args.seeds)} seeds, {args.pairs} pairs, {perf_counter() - started:.0f} s in this run")


if __name__ == "__main__":
    main(parse_args())
