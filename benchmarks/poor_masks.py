"""Whether it helps to train on poor masks: EraDiff at nano scale with right masks, and with half of them made poor.

    python -m benchmarks.poor_masks --images photos --validation photos_held_out --out runs/poor_masks

Both arms start from the ordinary inpainting base and train as long as each other, with the same seeds, on the same
pairs: only masks differ (``training.data.poor_masks``).  They are scored as in ``benchmarks.wrong_masks``: on held-out
pairs under masks that are right, shifted, too small, have holes or are boxes, by what the network makes of the view
alone.  Printed: mean and standard deviation over the seeds.  A killed run goes on.
"""

import argparse
import json
from pathlib import Path
from time import perf_counter

from benchmarks.eradiff_ablation import USUAL, add_arm_flags, held_out_pairs, print_table
from benchmarks.wrong_masks import COLUMNS, MASKS, filled, outlines, scores_of
from inpainting_core.engine import load_engine
from training import train_eradiff
from training.networks.perceptual import perceptual_net

ARMS = {"right": "", "half poor": "--poor-masks 0.5"}
GIVEN = ("right", "shifted 6 px", "shifted 12 px", "thing less 2 px", "thing less 4 px", "with holes", "a box")
TOLD = f"{USUAL} --rectified 0.4 --pool-seed 0"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arm_flags(parser, pairs=24, steps=250, pool=600)
    parser.add_argument("--batch-size", type=int, default=16, help="(%(default)s)")
    return parser.parse_args(argv)


def flags_of(args: argparse.Namespace, arm: str, seed: int) -> list[str]:
    """What one arm's run is told; the runs of an arm share their pool."""
    name = arm.replace(" ", "_")
    argv = ["--base", args.base, "--images", args.images, "--out", str(Path(args.out) / f"{name}_{seed}")]
    argv += ["--pool", str(Path(args.out) / name), "--cache-latents", str(args.pool), "--seed", str(seed)]
    argv += ["--steps", str(args.steps), "--batch-size", str(args.batch_size)]
    return [*argv, *TOLD.split(), *ARMS[arm].split()]


def train(args: argparse.Namespace, arm: str, seed: int) -> Path:
    """One arm's checkpoint; a finished one is not trained again."""
    asked = train_eradiff.parse_args(flags_of(args, arm, seed))
    file = Path(asked.out) / "model.safetensors"
    if not file.exists():
        train_eradiff.main(asked)
    return file


def main(args: argparse.Namespace) -> None:
    started, store = perf_counter(), Path(args.out) / "scores.json"
    store.parent.mkdir(parents=True, exist_ok=True)
    rows = json.loads(store.read_text()) if store.exists() else []
    distance, pictures = perceptual_net("stlpips_alex"), held_out_pairs(args, load_engine(args.base).resolution)
    for seed in args.seeds:
        for arm in ARMS:
            engine = load_engine(train(args, arm, seed))
            for name in GIVEN:
                row = {"trained on": arm, "mask": name, "seed": seed}
                if any(row.items() <= known.items() for known in rows):
                    continue
                masked = MASKS[name](pictures["mask"], outlines(pictures))
                result = filled("eradiff", engine, pictures, masked, seed)
                rows.append(row | scores_of(result, pictures, masked, distance))
                store.write_text(json.dumps(rows, indent=1))
    rows.sort(key=lambda row: (GIVEN.index(row["mask"]), list(ARMS).index(row["trained on"])))
    print_table(rows, ("mask", "trained on"), COLUMNS)
    print(f"{len(args.seeds)} seeds, {args.pairs} pairs, {args.steps} steps, {perf_counter() - started:.0f} s here")


if __name__ == "__main__":
    main(parse_args())
