"""Make the built-in nano: YOEO's three stages in sequence, as assets/nano.safetensors was made.

    python -m training.nano --images photos --validation photos_held_out --out runs/nano
    python -m training.nano --images photos --out runs/small --size small                       # for one GPU
    python -m training.nano --images photos --out runs/smoke --share 0.001                      # a few steps of each

It starts from the nano's ordinary inpainting base and takes about two hours on one core that computes in bf16; for one
that does not, which the first lines say, there is ``--mixed-precision no``.  ``--size small`` is wider (11 M weights),
works at 256 px, and trains its own base first, with the nano's autoencoder.  Started again with the same ``--out``, it
goes on where it was.  Another ``--seed`` makes another nano: how far two of them lie apart is what chance is worth.
"""

import argparse
import json
from pathlib import Path
from time import perf_counter

from inpainting_core.built_in import ASSETS, BUILT_IN, NANO, NANO_DETECTOR
from training import train_yoeo_stage1, train_yoeo_stage2, train_yoeo_stage3
from training.data.flag_values import above_zero, natural, positive
from training.data.recipe import NANO_FLAGS

COMMON = f"{NANO_FLAGS} --lr-schedule cosine"
DISTILLED = f"{COMMON} --batch-size 8 --perceptual stlpips_alex --truth 0.5 --lr 3e-4 --warmup 10 --ema 0.99"
DISTILLED += " --save-every 100"
INPAINTING = f"{COMMON} --batch-size 16 --gradient-accumulation 1 --clip 1 --hole-weight 7 --timestep-power 0.6"
STAGE1 = f"{INPAINTING} --under-hole continued --texture copied --draws 2"

# folder of the run: script, optimizer steps, samples encoded, its other flags.  SRA is on in some passes of stage 1, so
# that the nano erases along EraDiff's path as well.
RECIPE = {
    "stage1": (train_yoeo_stage1, 2400, 4000, f"{STAGE1} --lr 1.2e-3 --warmup 100 --ema 0.997"),
    "stage1_sra": (train_yoeo_stage1, 700, 4000, f"{STAGE1} --rectified 0.4 --lr 6e-4 --warmup 50 --ema 0.99"),
    "stage2": (train_yoeo_stage2, 400, 4000, f"{DISTILLED} --steps-per-phase 50"),
    "stage3": (train_yoeo_stage3, 200, 1200, f"{DISTILLED} --detector {NANO_DETECTOR}"),
}
# ordinary inpainting, with objects in its holes: what the other stages cure
BASE = {"base": (train_yoeo_stage1, 2700, 4000, f"{INPAINTING} --holes any --lr 1.2e-3 --warmup 100 --ema 0.997")}
SIZES = {"nano": RECIPE, "small": BASE | RECIPE}  # the nano's own base is there
RESOLUTIONS = {"nano": 192, "small": 256}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="pictures to train on")
    parser.add_argument("--validation", help="pictures never trained on; sheets and numbers come from them")
    parser.add_argument("--out", required=True, help="one folder below it for each run")
    parser.add_argument("--size", choices=SIZES, default="nano", help="of the network (%(default)s)")
    parser.add_argument(
        "--resolution", type=positive, help="side of a training picture in px; left out: as the size has it"
    )
    parser.add_argument("--share", type=above_zero, default=1.0, help="of the recipe's steps and samples (%(default)s)")
    parser.add_argument(
        "--mixed-precision", choices=["bf16", "no"], default="bf16", help="no: where bf16 is slow (%(default)s)"
    )
    parser.add_argument("--seed", type=natural, default=0, help="the runs' own seeds start at ten times this one")
    parser.add_argument("--workers", type=natural, help="processes that prepare pictures; left out: by the cores")
    return parser.parse_args(argv)


def start_of(stage: str, out: Path, size: str) -> list[str]:
    """What each run inherits."""
    model = {name: str(out / name / "model.safetensors") for name in SIZES[size]}
    return {
        "base": ["--base", size, "--vae", str(BUILT_IN[NANO])],
        "stage1": ["--base", model.get("base", str(ASSETS / "nano_base.safetensors"))],
        "stage1_sra": ["--base", model["stage1"]],
        "stage2": ["--teacher", model["stage1_sra"]],
        "stage3": ["--teacher", model["stage1_sra"], "--student", model["stage2"]],
    }[stage]


def main(args: argparse.Namespace) -> None:
    out, resolution = Path(args.out), args.resolution or RESOLUTIONS[args.size]
    for stage, (script, steps, pool, flags) in SIZES[args.size].items():
        started = perf_counter()
        counts = ["--steps", str(max(1, round(args.share * steps)))]
        # the stages draw from one set, each in its own order; the base's has other holes
        where = out / stage if stage == "base" else out
        counts += ["--cache-latents", str(max(16, round(args.share * pool))), "--pool", str(where)]
        counts += ["--pool-seed", str(10 * args.seed + 1)]
        data = ["--images", args.images, "--out", str(out / stage), "--resolution", str(resolution)]
        data += ["--mixed-precision", args.mixed_precision]
        data += ["--validation", args.validation] if args.validation else []
        random = ["--seed", str(10 * args.seed + list(BASE | RECIPE).index(stage))]
        random += [] if args.workers is None else ["--workers", str(args.workers)]
        argv = [*start_of(stage, out, args.size), *data, *counts, *flags.split(), *random]
        script.main(script.parse_args(argv))
        print(f"{stage}: {(perf_counter() - started) / 60:.1f} minutes in this run", flush=True)
    held_out = json.loads((out / "stage3" / "held_out.json").read_text())
    numbers = {name: value for name, value in held_out.items() if isinstance(value, float)}
    print(f"{out / 'stage3' / 'model.safetensors'}: " + ", ".join(f"{k} {v:.3f}" for k, v in numbers.items()))


if __name__ == "__main__":
    main(parse_args())
