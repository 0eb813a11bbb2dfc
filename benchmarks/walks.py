"""How EraDiff's path is best walked with one checkpoint: where it starts, and how soft its attention is.

    python -m benchmarks.walks --validation photos_held_out --out runs/walks [--model FILE] [--cutouts DIR]

Held-out pairs and scores are those of ``benchmarks.eradiff_ablation``; every fill is what the network makes of the view
alone.  Printed: mean and standard deviation over the seeds, which draw the noise.  A killed run goes on.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from benchmarks.eradiff_ablation import ATTENTION, COLUMNS, STRENGTHS, held_out_pairs, print_table
from benchmarks.pasted_objects import add_pair_flags, score
from eradiff_core.pipeline import STARTS, Walk, draw_fill
from inpainting_core.built_in import BUILT_IN, NANO_OF
from inpainting_core.choosing import Choice
from inpainting_core.engine import DiffusersEngine, load_engine
from training.networks.perceptual import perceptual_net


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(BUILT_IN[NANO_OF["eradiff"]]), help="checkpoint (%(default)s)")
    add_pair_flags(parser, pairs=48)
    parser.add_argument("--out", required=True, help="folder for scores.json")
    return parser.parse_args(argv)


def fills_of(engine: DiffusersEngine, pictures: dict[str, Tensor], walk: Walk, seed: int) -> Tensor:
    """Every picture with its object taken out, one after the other, each with noise of its own."""
    pairs = zip(pictures["with_object"].split(1), pictures["mask"].split(1), strict=True)
    each = (Choice(seed=1000 * seed + number).generators for number in range(len(pictures["mask"])))
    return torch.cat([draw_fill(engine, *pair, walk, generators) for pair, generators in zip(pairs, each, strict=True)])


def walks() -> list[tuple[dict[str, str], Walk]]:
    """Every way of walking that is compared, under its names; at full strength both starts are the same."""
    return [
        ({"strength": strength, "start": start, "attention": name}, Walk(12, strength, mode, softness, start))
        for strength in STRENGTHS
        for start in (STARTS if strength < 1 else STARTS[:1])
        for name, (mode, softness) in ATTENTION.items()
    ]


def main(args: argparse.Namespace) -> None:
    started, store = perf_counter(), Path(args.out) / "scores.json"
    store.parent.mkdir(parents=True, exist_ok=True)
    rows = json.loads(store.read_text()) if store.exists() else []
    engine, distance = load_engine(args.model), perceptual_net("stlpips_alex")
    pictures = held_out_pairs(args, engine.resolution)
    for seed in args.seeds:
        for names, walk in walks():
            row = {"model": args.model, "cutouts": bool(args.cutouts), "seed": seed, **names, "walk": asdict(walk)}
            if not any(row.items() <= known.items() for known in rows):
                rows.append(row | score(fills_of(engine, pictures, walk, seed), pictures, distance))
                store.write_text(json.dumps(rows, indent=1))
    order = [names for names, _ in walks()]
    rows.sort(key=lambda row: order.index({name: row[name] for name in order[0]}))
    print_table(rows, ("strength", "start", "attention"), COLUMNS)
    print(f"{len(args.seeds)} seeds, {len(pictures['mask'])} pairs, {perf_counter() - started:.0f} s in this run")


if __name__ == "__main__":
    main(parse_args())
