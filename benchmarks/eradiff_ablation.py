"""EraDiff's ablation at nano scale: SRA, hard and soft, CRO, both, neither, and CRO without mix-up.

    python -m benchmarks.eradiff_ablation --images photos --validation photos_held_out --out runs/ablation

Every arm starts from the same base, an ordinary inpainting model that draws objects into object-shaped holes, and
trains as long as the others on the same pairs, with the same seeds.  The held-out pairs come from photographs and
things that no training saw.  Printed: mean and standard deviation over the seeds.  A killed run goes on.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter

import torch
from torch import Tensor

from benchmarks.ideal_chain import object_left_at_the_end
from benchmarks.pasted_objects import CutoutScenes, add_pair_flags, score
from eradiff_core.attention import HARD, Softness
from eradiff_core.synthesis import Ranges
from inpainting_core.engine import DiffusersEngine, load_engine
from training import train_eradiff
from training.data.encoding import Encoded, Encoder
from training.data.pairs import DrawnScenes, Pairs
from training.data.recipe import NANO_PAIRS_FLAGS, NANO_RECIPE
from training.data.sets import all_of
from training.held_out.pairs import erase_pairs
from training.networks.perceptual import perceptual_net

ARMS = {
    "plain": "--mixing none",  # as many steps of ordinary inpainting on the same pairs: what any fine-tuning would do
    "CRO": "--mixing schedule",
    "CRO, SRA in training": "--mixing schedule --rectified 0.4",
    "CRO without mix-up": "--mixing constant",
}
USUAL = f"--objects drawn {NANO_PAIRS_FLAGS} --lr 6e-4 --lr-schedule cosine --warmup 20 --clip 1 --hole-weight 7"
USUAL += " --ema 0.99 --mixed-precision bf16"  # what all arms are told
ATTENTION = {
    "off": ("off", HARD),
    "rectified": ("rectified", HARD),
    "soft 0.1": ("rectified", Softness(0.1)),
    "soft 0.3": ("rectified", Softness(0.3)),
    "rising": ("rectified", Softness(0.0, rising=True)),
}
STRENGTHS = (0.6, 0.8, 1.0)
STEPS = (1, 2, 4, 8, 10, 12, 20, 50)
COLUMNS = ("psnr", "lpips", "local_fd_x1000", "object_left", "erased")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arm_flags(parser, pairs=48, steps=400, pool=3000)
    return parser.parse_args(argv)


def add_arm_flags(parser: argparse.ArgumentParser, pairs: int, steps: int, pool: int) -> None:
    """Where arms of EraDiff's training start, what they learn from, how long, and what they are scored on."""
    parser.add_argument("--base", default="assets/nano_base.safetensors", help="where every arm starts")
    parser.add_argument("--images", required=True, help="photographs to train on")
    add_pair_flags(parser, pairs)
    parser.add_argument("--out", required=True, help="runs and scores.json")
    parser.add_argument("--steps", type=int, default=steps, help="training steps of every arm (%(default)s)")
    parser.add_argument("--pool", type=int, default=pool, help="training pairs encoded (%(default)s)")


def train(args: argparse.Namespace, arm: str, seed: int) -> Path:
    """One arm's checkpoint; a finished one is not trained again."""
    out = Path(args.out) / f"{arm.replace(', ', ' ').replace(' ', '_')}_{seed}"
    if (out / "model.safetensors").exists():
        return out / "model.safetensors"
    flags = f"{USUAL} --steps {args.steps} --batch-size 16 --cache-latents {args.pool} --seed {seed}"
    argv = ["--base", args.base, "--images", args.images, "--out", str(out), *ARMS[arm].split(), *flags.split()]
    argv += ["--pool", args.out, "--pool-seed", "0"]  # the pairs are the same for every arm and seed
    train_eradiff.main(train_eradiff.parse_args(argv))
    return out / "model.safetensors"


def held_out_pairs(args: argparse.Namespace, size: int) -> dict[str, Tensor]:
    drawn = DrawnScenes(args.validation, size, 1234, NANO_RECIPE)
    scenes = CutoutScenes(args.validation, size, args.cutouts) if args.cutouts else drawn
    return all_of(Pairs(scenes, args.pairs, seed=1234, ranges=Ranges()))


def erase(engine: DiffusersEngine, encoded: Encoded, steps: int, strength: float, attention: str, seed: int) -> Tensor:
    """All pairs, sixteen at a time; ``attention`` is one of ``ATTENTION``."""
    mode, softness = ATTENTION[attention]
    parts = [
        {key: values[start : start + 16] for key, values in encoded.items()}
        for start in range(0, len(encoded["mask"]), 16)
    ]
    with torch.autocast(engine.device.type, torch.bfloat16):
        return torch.cat([erase_pairs(engine, part, steps, strength, mode, seed, softness) for part in parts])


def spread(values: Iterable[float]) -> str:
    values = list(values)
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def print_table(rows: list[dict], keys: tuple[str, ...], columns: tuple[str, ...]) -> None:
    """A Markdown table: one line for each setting of ``keys``, mean and spread over the rest."""
    print("| " + " | ".join([*keys, *columns]) + " |")
    print("|" + "---|" * (len(keys) + len(columns)))
    for setting in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        chosen = [row for row in rows if tuple(row[key] for key in keys) == setting]
        cells = [spread(row[column] for row in chosen) for column in columns]
        print("| " + " | ".join([*map(str, setting), *cells]) + " |")
    print()


def main(args: argparse.Namespace) -> None:
    started, store = perf_counter(), Path(args.out) / ("scores_cutouts.json" if args.cutouts else "scores.json")
    models = {(arm, seed): train(args, arm, seed) for seed in args.seeds for arm in ARMS}
    models |= {("base", seed): Path(args.base) for seed in args.seeds}
    distance = perceptual_net("stlpips_alex")

    base = load_engine(args.base)
    pictures = held_out_pairs(args, base.resolution)
    encoder = Encoder(base.vae, base.config, torch.device("cpu"))
    encoded = encoder.pair(pictures["original"], pictures["with_object"], pictures["mask"])
    rows, walked = json.loads(store.read_text()) if store.exists() else ([], [])
    for (arm, seed), path in models.items():
        engine = load_engine(path)
        for attention in ATTENTION:
            for strength in STRENGTHS:
                row = {"model": arm, "SRA": attention, "strength": strength, "seed": seed}
                if any(row.items() <= known.items() for known in rows):
                    continue
                fill = erase(engine, encoded, 12, strength, attention, seed)
                rows.append(row | score(fill, pictures, distance))
        for steps in STEPS if arm == "CRO" else ():
            row = {"steps": steps, "seed": seed}
            if not any(row.items() <= known.items() for known in walked):
                fill = erase(engine, encoded, steps, 1.0, "off", seed)
                walked.append(row | score(fill, pictures, distance) | {"ideal": object_left_at_the_end(steps)})
        store.write_text(json.dumps([rows, walked], indent=1))

    ceiling = score(encoder.decode(encoded["latent"]), pictures, distance)
    print("the autoencoder alone: " + ", ".join(f"{key} {value:.3f}" for key, value in ceiling.items()) + "\n")
    rows.sort(key=lambda row: (row["strength"], list(models).index((row["model"], row["seed"])), row["SRA"]))
    print_table(rows, ("strength", "model", "SRA"), COLUMNS)
    print_table(walked, ("steps",), ("object_left", "ideal", "psnr"))
    print(f"{len(args.seeds)} seeds, {len(pictures['mask'])} pairs, {perf_counter() - started:.0f} s in this run")


if __name__ == "__main__":
    main(parse_args())
