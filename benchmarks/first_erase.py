"""What the first erase after loading costs beside the second, in the nodes, with the built-in models.

    python -m benchmarks.first_erase --comfyui FOLDER [--runs 5] [--side 512]

Each run is a process of its own, which loads the model and erases from pictures of its own: the second has nothing of
the first's to go by.  Processor seconds of one thread; medians with quartiles.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from subprocess import run

import torch

from benchmarks.interleaved import Ratio, seconds_of
from benchmarks.node_ratio import METHODS, ROOT, load_nodes
from inpainting_core.built_in import NANO

ERASES = 3
WHERE = {"grow": 5, "context": 0.5, "resolution": 0}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, default=ROOT / ".comfyui", help="ComfyUI's folder (%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="processes (%(default)s)")
    parser.add_argument("--side", type=int, default=512, help="of the picture in px (%(default)s)")
    parser.add_argument("--here", choices=METHODS, help="erase with this node, in this process")
    return parser.parse_args(argv)


def erases(method: str, args: argparse.Namespace) -> list[float]:
    """The seconds of loading and of each erase after it."""
    torch.set_num_threads(1)
    nodes = load_nodes(args.comfyui)
    loaded, (name, own, _, _) = {}, METHODS[method]

    def load() -> None:
        found = nodes["EraseOnceLoadModel"].execute(NANO, "none").result
        loaded.update(zip(("model", "vae", "conditioning"), found, strict=True))

    def erase(number: int) -> None:
        image = torch.rand(1, args.side, args.side, 3, generator=torch.Generator().manual_seed(number))
        mask = torch.zeros(1, args.side, args.side)
        mask[:, args.side // 4 : args.side // 2, args.side // 4 : args.side // 2] = 1
        nodes[name].execute(**loaded, image=image, mask=mask, seed=0, **WHERE, **own)

    with torch.inference_mode():
        return [seconds_of(load), *(seconds_of(lambda number=number: erase(number)) for number in range(ERASES))]


def main(args: argparse.Namespace) -> None:
    if args.here:
        print(json.dumps(erases(args.here, args)))
        return
    print("| node | loading, s | first, s | second, s | first / second | third / second |\n|---|---|---|---|---|---|")
    for method in METHODS:
        command = [sys.executable, "-m", "benchmarks.first_erase", "--here", method, "--side", str(args.side)]
        command += ["--comfyui", str(args.comfyui)]
        done = [run(command, capture_output=True, text=True, check=True).stdout for _ in range(args.runs)]
        loading, first, second, third = zip(*(json.loads(told.splitlines()[-1]) for told in done), strict=True)
        seconds = " | ".join(f"{median(each):.2f}" for each in (loading, first, second))
        print(f"| {method} | {seconds} | {Ratio.of(first, second)} | {Ratio.of(third, second)} |", flush=True)


if __name__ == "__main__":
    main(parse_args())
