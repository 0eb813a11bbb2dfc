"""YOEO's ablation at nano scale: L_EFC, L_SS and the unpaired set D2, each on and off, in the paper's five rows.

    python -m benchmarks.yoeo_ablation --images photos --validation photos_held_out --out runs/yoeo_ablation

The teacher is an ordinary inpainting model, which draws objects into object-shaped holes.  One run of stage 2 distils
it; every row is a run of stage 3 from there, as long as the others.  ``--judge`` names the detector that judges
afterwards; left out, it is the one that judged in training.  Photographs and things are such as no training saw.
Printed: mean and standard deviation over the seeds.  A killed run goes on.
"""

import argparse
import json
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn

from benchmarks.eradiff_ablation import print_table
from benchmarks.pasted_objects import box_crops, frechet_distance
from inpainting_core.built_in import NANO_DETECTOR
from inpainting_core.engine import DiffusersEngine
from training import train_yoeo_stage2, train_yoeo_stage3
from training.data.composites import Composites
from training.data.encoding import Encoded, Encoder
from training.data.recipe import NANO_FLAGS, NANO_RECIPE
from training.data.sets import all_of
from training.held_out.few_steps import fill_in_few_steps, hole_psnr
from training.held_out.parts import in_parts
from training.held_out.sundries import segments_of
from training.networks.bases import Networks, load_networks
from training.networks.perceptual import perceptual_net
from training.running.distilling import Denoiser, taught
from yoeo_core.detector import load_detector
from yoeo_core.metrics import mars, msn

# The paper's table: EFC, SS, D2.  There is no row with SS alone: it acts on D2 only.
WHOLE = "EFC SS D2"
ROWS = {
    "– – –": "--without d2 ss efc",
    "EFC": "--without d2 ss",
    "EFC D2": "--without ss",
    "SS D2": "--without efc",
    WHOLE: "",
}
COLUMNS = ("msn", "mars", "local_fd_x1000", "lpips", "psnr")
PERCEPTUAL = "stlpips_alex"
FLAGS = f"{NANO_FLAGS} --perceptual {PERCEPTUAL} --mixed-precision bf16 --workers 0 --warmup 10"


def parse_args(argv: list[str] | None = None, told: str | None = __doc__) -> argparse.Namespace:
    """The flags of this table and of those made in the same way, which are ``told`` of in their own words."""
    parser = argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="assets/nano_base.safetensors", help="what is distilled (%(default)s)")
    parser.add_argument("--detector", default=str(NANO_DETECTOR), help="judges in training (%(default)s)")
    parser.add_argument("--judge", default=str(NANO_DETECTOR), help="judges afterwards (%(default)s)")
    parser.add_argument("--images", required=True, help="photographs to train on")
    parser.add_argument("--validation", required=True, help="photographs that no training saw")
    parser.add_argument("--out", required=True, help="runs and scores.json")
    parser.add_argument("--stage2-steps", type=int, default=200, help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=100, help="stage 3 steps of every row (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=4, help="(%(default)s)")
    parser.add_argument("--lr", type=float, default=2e-4, help="of both stages (%(default)s)")
    parser.add_argument("--pool", type=int, default=1000, help="training samples encoded, of each set (%(default)s)")
    parser.add_argument("--pictures", type=int, default=96, help="held-out pictures of each set (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return parser.parse_args(argv)


def run(script, out: Path, flags: str, args: argparse.Namespace, seed: int) -> Path:
    """One training's checkpoint; a finished one is not run again, and all draw from the same encoded pools."""
    if not (out / "model.safetensors").exists():
        flags = f"{flags} {FLAGS} --batch-size {args.batch_size} --cache-latents {args.pool} --lr {args.lr}"
        argv = ["--teacher", args.teacher, "--images", args.images, "--out", str(out), "--seed", str(seed)]
        script.main(script.parse_args([*argv, "--pool", args.out, "--pool-seed", "0", *flags.split()]))
    return out / "model.safetensors"


def distil(args: argparse.Namespace) -> Path:
    """The student of stage 2 that every row goes on from."""
    flags = f"--steps {args.stage2_steps} --steps-per-phase {args.stage2_steps // 5} --ema 0.97"
    return run(train_yoeo_stage2, Path(args.out) / "stage2", flags, args, 0)


def train(args: argparse.Namespace, rows: dict[str, str]) -> dict[tuple[str, int], Path]:
    """Stage 2 once, then stage 3 for every row, which is its flags, and seed."""
    student = distil(args)
    models = {("stage 2", 0): student}
    for seed in args.seeds:
        for row, own in rows.items():
            flags = f"--student {student} --detector {args.detector} --steps {args.steps} --ema 0.95 {own}"
            place = Path(args.out) / f"{row.replace(' ', '').replace('–', '-')}_{seed}"
            models[row, seed] = run(train_yoeo_stage3, place, flags, args, seed)
    return models


class Bench:
    """Held-out pictures of both sets, encoded once, and who judges what is made of them."""

    def __init__(self, args: argparse.Namespace, networks: Networks):
        self.judge = load_detector(args.judge)
        self.distance = perceptual_net(PERCEPTUAL)
        self.encoder = Encoder(networks.vae, networks.config, torch.device("cpu"))
        size, count = networks.config.resolution, args.pictures
        self.sets = {
            holes: all_of(Composites(args.validation, size, count, 1234, holes, NANO_RECIPE)) for holes in ("d1", "d2")
        }
        self.encoded = {
            holes: in_bf16(lambda part: self.encoder(part["image"], part["mask"]), pictures)
            for holes, pictures in self.sets.items()
        }

    def decoded(self, fill, holes: str, seed: int) -> Tensor:
        """All pictures of a set, filled by ``fill(encoded, generator)`` and decoded."""
        generator = torch.Generator().manual_seed(seed)
        made = in_bf16(lambda part: {"image": self.encoder.decode(fill(part, generator))}, self.encoded[holes])
        return made["image"]

    def score(self, fill, seed: int) -> dict[str, float]:
        """MSN and MARS on D2, whose truth nobody knows; the rest on D1, where it is the picture itself."""
        unpaired, paired = self.decoded(fill, "d2", seed), self.decoded(fill, "d1", seed)
        hole = self.sets["d2"]["mask"]
        found = in_bf16(lambda part: segments_of(self.judge, part["image"]), {"image": unpaired})["segments"]
        image, mask = self.sets["d1"]["image"], self.sets["d1"]["mask"]
        crops, truth = box_crops(image * (1 - mask) + paired * mask, mask), box_crops(image, mask)
        made, real = (
            in_bf16(lambda part: features_of(self.distance, part["x"]), {"x": x})["f"] for x in (crops, truth)
        )
        with torch.no_grad():
            lpips = self.distance(2 * crops - 1, 2 * truth - 1).mean().item()
        return {
            "msn": msn(found, hole).mean().item(),
            "mars": mars(found, hole).mean().item(),
            "local_fd_x1000": 1000 * frechet_distance(made, real),
            "lpips": lpips,
            "psnr": hole_psnr(paired, image, mask).mean().item(),
        }


def in_bf16(function, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """``function`` of a batch, as the trainings compute."""
    with torch.autocast("cpu", torch.bfloat16):
        return in_parts(function, batch, 16)


def features_of(distance: nn.Module, crops: Tensor) -> dict[str, Tensor]:
    """The mean of the distance's last layer, 256 numbers a crop."""
    return {"f": distance.net(distance.scaling_layer(2 * crops - 1))[-1].mean((2, 3))}


def student_fill(networks: Networks, steps: int):
    """``steps`` of consistency sampling from pure noise."""
    engine = DiffusersEngine(networks.config, networks.unet.eval(), networks.vae, networks.empty_prompt)

    def fill(encoded: Encoded, generator: torch.Generator) -> Tensor:
        return fill_in_few_steps(engine, encoded, steps, generator)

    return fill


def teacher_fill(networks: Networks):
    """The teacher's 20 steps from pure noise."""
    denoiser = Denoiser(networks.unet.eval(), networks.config.prediction, networks.empty_prompt)

    def fill(encoded: Encoded, generator: torch.Generator) -> Tensor:
        noise = torch.randn(encoded["latent"].shape, generator=generator)
        return taught(denoiser, noise, 0, encoded)

    return fill


def main(args: argparse.Namespace, trained: dict[str, str] = ROWS) -> None:
    """Train and score each of these rows, and print the table."""
    started, store = perf_counter(), Path(args.out) / "scores.json"
    models = train(args, trained)
    teacher = load_networks(args.teacher, vae=None)
    bench = Bench(args, teacher)
    rows = json.loads(store.read_text()) if store.exists() else []

    def scored(row: dict, fill) -> None:
        if not any(row.items() <= known.items() for known in rows):
            rows.append(row | bench.score(fill, row["seed"]))
            store.write_text(json.dumps(rows, indent=1))

    for seed in args.seeds:
        scored({"model": "teacher", "steps": 20, "seed": seed}, teacher_fill(teacher))
        student = load_networks(str(models["stage 2", 0]), vae=None)
        scored({"model": "stage 2", "steps": 2, "seed": seed}, student_fill(student, 2))
        for row in trained:
            student = load_networks(str(models[row, seed]), vae=None)
            for steps in (1, 2, 4) if row == WHOLE else (2,):
                scored({"model": row, "steps": steps, "seed": seed}, student_fill(student, steps))
    order = ["teacher", "stage 2", *trained]
    rows = [row for row in rows if row["model"] in order]
    print_table(sorted(rows, key=lambda row: (order.index(row["model"]), row["steps"])), ("model", "steps"), COLUMNS)
    print(f"{len(args.seeds)} seeds, {args.pictures} pictures a set, {perf_counter() - started:.0f} s in this run")


if __name__ == "__main__":
    main(parse_args())
