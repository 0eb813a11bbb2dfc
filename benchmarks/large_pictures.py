"""What an erasure costs besides its network: one speck on a large picture, and ten.

    python -m benchmarks.large_pictures [--width 6000 --height 4000]

Specks of 9 px are planned, and erased by a fill that does nothing, all of it on one thread.  Printed are medians with
their spread, the ratio to one speck, and the most memory that the process held beyond the picture and its mask, in
pictures.  Each line is measured in a process of its own.
"""

import argparse
import resource
import sys
from statistics import median
from subprocess import run
from time import perf_counter

import torch

from inpainting_core.erasing import erase_holes, plan
from inpainting_core.masks import as_objects

SPECKS = (1, 10)
REPEATS = 5
SETTINGS = {"resolution": 512, "grow_px": 5, "context": 0.5}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=6000, help="pixels (%(default)s)")
    parser.add_argument("--height", type=int, default=4000, help="pixels (%(default)s)")
    parser.add_argument("--specks", type=int, help="measure this many, in this process")
    return parser.parse_args(argv)


def measure(height: int, width: int, specks: int) -> str:
    """Planning seconds (median, least, most), the whole without a network likewise, memory in pictures."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    image, mask = torch.rand(1, 3, height, width, generator=generator), torch.zeros(1, 1, height, width)
    for _ in range(specks):
        y, x = (int(torch.randint(50, side - 50, (), generator=generator)) for side in (height, width))
        mask[..., y : y + 9, x : x + 9] = 1
    before, seconds = peak_bytes(), {"planning": [], "whole": []}
    for _ in range(REPEATS):
        start = perf_counter()
        plan(as_objects(mask, height, width)[0], **SETTINGS)
        seconds["planning"].append(perf_counter() - start)
        start = perf_counter()
        erase_holes(image, mask, lambda view, hole: view, **SETTINGS)
        seconds["whole"].append(perf_counter() - start)
    numbers = [f(taken) for taken in seconds.values() for f in (median, min, max)]
    return " ".join(map(str, [*numbers, (peak_bytes() - before) / (image.numel() * image.element_size())]))


def peak_bytes() -> int:
    """The most that this process has held; Linux counts it in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(args: argparse.Namespace) -> None:
    if args.specks:
        print(measure(args.height, args.width, args.specks))
        return
    print("| specks | planning, s | ratio | all but the network, s | ratio | memory, pictures |")
    print("|---|---|---|---|---|---|")
    first = None
    for specks in SPECKS:
        command = [sys.executable, "-m", "benchmarks.large_pictures", "--specks", str(specks)]
        command += ["--width", str(args.width), "--height", str(args.height)]
        numbers = [float(word) for word in run(command, capture_output=True, text=True, check=True).stdout.split()]
        first = first or numbers
        planning, whole = (f"{a:.2f} ({b:.2f} to {c:.2f})" for a, b, c in (numbers[:3], numbers[3:6]))
        ratios = f"{numbers[0] / first[0]:.2f} | {whole} | {numbers[3] / first[3]:.2f}"
        print(f"| {specks} | {planning} | {ratios} | {numbers[6]:.1f} |")


if __name__ == "__main__":
    main(parse_args())
