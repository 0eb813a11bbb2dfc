"""One optimisation step of each training at the full size of Stable Diffusion 1.5, on a CPU: its losses, its memory.

    python -m benchmarks.full_size_step --work /tmp/full                    # random weights; 20 GB free
    python -m benchmarks.full_size_step --work /tmp/full --only eradiff

Each script runs as a person would start it, in a process of its own, up to where it would save its state: what is
shown are the losses that it logs and the most memory that its process held.  Pictures and weights are random.
"""

import argparse
import math
import resource
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import save_file

from inpainting_core.architecture import SD15_INPAINT
from inpainting_core.built_in import NANO_DETECTOR
from inpainting_core.checkpoint import Checkpoint, write_checkpoint
from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import build_unet, build_vae
from training import train_eradiff, train_yoeo_stage1, train_yoeo_stage2, train_yoeo_stage3
from training.networks.discriminators import OURS
from training.running import run
from yoeo_core.discriminator import Discriminator

GB = 1e9
COMMON = "--steps 1 --batch-size 1 --gradient-accumulation 1 --workers 0"
COMMON += " --mixed-precision bf16 --gradient-checkpointing"
DISTILLED = "--unlabelled drawn --perceptual stlpips_vgg"
RUNS = {
    "eradiff": (train_eradiff, "--base {base} --objects drawn"),
    "stage1": (train_yoeo_stage1, "--base {base} --unlabelled drawn"),
    "stage2": (train_yoeo_stage2, f"--teacher {{base}} {DISTILLED}"),
    "stage3": (train_yoeo_stage3, f"--teacher {{base}} --student {{base}} --detector {NANO_DETECTOR} {DISTILLED}"),
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the random base (2 GB) and the logs")
    parser.add_argument("--side", type=int, default=256, help="of a training picture in px (%(default)s)")
    parser.add_argument("--only", choices=RUNS, nargs="+", default=list(RUNS), help="(all)")
    return parser.parse_args(argv)


def prepare(work: Path) -> None:
    """A whole base of random weights, the discriminator beside it, and two pictures of noise."""
    torch.manual_seed(0)
    (work / "photos").mkdir(parents=True, exist_ok=True)
    unet, vae = build_unet(SD15_INPAINT.unet), build_vae(SD15_INPAINT.vae)
    prompt = Prompt(torch.randn(1, 77, SD15_INPAINT.unet.context_dim))
    checkpoint = Checkpoint(SD15_INPAINT, unet.state_dict(), vae.state_dict(), prompt)
    write_checkpoint(work / "base.safetensors", checkpoint)
    save_file(Discriminator(SD15_INPAINT.unet.channels[-1]).state_dict(), work / OURS)
    for name in "ab":
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((512, 512), Image.Resampling.BICUBIC).save(work / "photos" / f"{name}.png")


def one_step(name: str, work: Path, side: int) -> None:
    """Run a script up to its first state, and print its losses and this process's peak."""
    script, flags = RUNS[name]
    argv = [*flags.format(base=work / "base.safetensors").split(), *COMMON.split(), "--resolution", str(side)]
    argv += ["--images", str(work / "photos"), "--out", str(work / name)]
    logged, log = {}, Accelerator.log

    def listen(accelerator: Accelerator, values: dict, **named) -> None:
        logged.update(values)
        log(accelerator, values, **named)

    def stop(*_) -> None:
        raise KeyboardInterrupt

    Accelerator.log, run.save_for_resume = listen, stop
    try:
        script.main(script.parse_args(argv))
    except KeyboardInterrupt:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB
        finite = all(math.isfinite(value) for value in logged.values())
        losses = ", ".join(f"{key} {value:.4g}" for key, value in logged.items())
        print(f"| {name} | {peak:.1f} | {'yes' if finite else 'NO'} | {losses} |", flush=True)


def alone(function: Callable[..., None], *arguments: object) -> None:
    """Call it in a process of its own, whose memory is gone afterwards."""
    process = get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{function.__name__} {arguments[0]} ended with {process.exitcode}.")


def main(args: argparse.Namespace) -> None:
    if not (args.work / "base.safetensors").exists():
        alone(prepare, args.work)
    print("| run | peak GB | finite | logged |\n|---|---|---|---|", flush=True)
    for name in args.only:
        alone(one_step, name, args.work, args.side)


if __name__ == "__main__":
    main(parse_args())
