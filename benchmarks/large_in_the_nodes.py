"""What the size of a picture adds to erasing, end to end in the nodes: a 256 px object, and ten, on 24 megapixels.

    python -m benchmarks.large_in_the_nodes --comfyui FOLDER [--turns 5] [--model nano|SD1.5] [--node "Erase (EraDiff)"]

A 256 px object is worked on in a crop of 512 px, so that a picture of 512 px with one is what a large one is compared
with, and ten such pictures are what ten objects are.  All are timed in turn, in processor seconds of one thread, with
other pixels and the same masks each turn; *bare* is the networks' own calls on one crop.  Memory is the most that a
process of its own held beyond what it held before, and beyond what the picture of 512 px took there, in units of the
large one.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from subprocess import run

import torch
from torch import Tensor

from benchmarks.interleaved import Ratio, interleaved
from benchmarks.loading import memory
from benchmarks.node_ratio import CONFIG, METHODS, ROOT, bare, load_model, load_nodes
from benchmarks.sra_ratio import MODELS
from inpainting_core.built_in import NANO

OBJECT, CROP, MANY = 256, 512, 10  # px, px, objects
PLACES = [(row, column) for row in (400, 2000, 3200) for column in (300, 1700, 3100, 4500)][:MANY]
RANDOM = {"small": CONFIG, **MODELS}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, default=ROOT / ".comfyui", help="ComfyUI's folder (%(default)s)")
    parser.add_argument("--width", type=int, default=6000, help="of the large picture in px (%(default)s)")
    parser.add_argument("--height", type=int, default=4000, help="(%(default)s)")
    parser.add_argument("--model", choices=[NANO, *RANDOM], default=NANO, help="(%(default)s)")
    parser.add_argument("--node", choices=METHODS, default="Erase (YOEO)", help="(%(default)s)")
    parser.add_argument("--turns", type=int, default=5, help="of each way (%(default)s)")
    parser.add_argument("--ten", action="store_true", help="also ten objects")
    parser.add_argument("--memory", action="store_true", help="print what one large erase holds, in this process")
    return parser.parse_args(argv)


def eraser(args: argparse.Namespace) -> tuple[Callable[[Tensor, Tensor], object], Callable[[], Tensor]]:
    """The node as a function of IMAGE and MASK, and the networks' calls on one crop alone."""
    torch.set_num_threads(1)
    nodes = load_nodes(args.comfyui)
    if args.model == NANO:
        found = nodes["EraseOnceLoadModel"].execute(NANO, "none").result
        loaded = dict(zip(("model", "vae", "conditioning"), found, strict=True))
    else:
        loaded = load_model(RANDOM[args.model])
    name, own, steps, encodings = METHODS[args.node]
    where = {"seed": 0, "grow": 5, "context": 0.5, "resolution": 0}
    execute = partial(nodes[name].execute, **loaded, **where, **own)
    config = loaded["model"].get_attachment("erase_once")  # a small network is shown less and drawn from more often
    calls = bare(loaded, min(CROP, config.resolution), steps, encodings, config.draws)
    return lambda image, mask: execute(image=image, mask=mask), calls


def scene(height: int, width: int, objects: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """A smooth picture and its mask, whose objects stand at these rows and columns."""
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").movedim(1, -1).contiguous()
    mask = torch.zeros(1, height, width)
    for row, column in objects:
        mask[:, row : row + OBJECT, column : column + OBJECT] = 1
    return image, mask


def ways_of(args: argparse.Namespace) -> dict[str, Callable[[], object]]:
    erase, calls = eraser(args)
    middle = (CROP - OBJECT) // 2
    scenes = {
        "512 px": scene(CROP, CROP, [(middle, middle)]),
        "large": scene(args.height, args.width, [(args.height // 2, args.width // 2)]),
    }
    if args.ten:
        scenes["ten"] = scene(args.height, args.width, PLACES)
    turn = count()

    def once(image: Tensor, mask: Tensor) -> object:
        image[..., 0].fill_(next(turn) % 97 / 97)  # so that no view is known already
        return erase(image, mask)

    return {"bare": calls, **{name: lambda given=given: once(*given) for name, given in scenes.items()}}


def held_by_one(args: argparse.Namespace) -> tuple[float, float]:
    """The most that one large erase holds, after a small one that has brought all else into memory; in pictures.

    First what the small one's networks held for a while is in it, then it is not.
    """
    erase, _ = eraser(args)

    def held(image: Tensor, mask: Tensor) -> int:
        Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the peak that there was
        before = memory()["VmRSS"]
        erase(image, mask)
        return memory()["VmHWM"] - before

    for seed in range(2):
        image, mask = scene(CROP, CROP, [(128, 128)])
        small = held(image + seed / 9, mask)
    image, mask = scene(args.height, args.width, [(args.height // 2, args.width // 2)])
    whole, size = held(image, mask), image.numel() * image.element_size()
    return whole / size, (whole - small) / size


def added(seconds: dict[str, list[float]], way: str, times: int) -> tuple[float, Ratio, Ratio | str]:
    """Seconds beyond so many pictures of 512 px, and the ratio to these: whole, and less the networks' calls.

    Where the networks' own scatter is larger than all that is done around them, there is no second ratio.
    """
    small, bare_ones = seconds["512 px"], seconds["bare"]
    around = [one - times * net for one, net in zip(seconds[way], bare_ones, strict=True)]
    beside = [times * (one - net) for one, net in zip(small, bare_ones, strict=True)]
    extra = median(one - times * other for one, other in zip(seconds[way], small, strict=True))
    without = Ratio.of(around, beside) if min(around + beside) > 0 else "lost in the scatter"
    return extra, Ratio.of(seconds[way], [times * one for one in small]), without


@torch.inference_mode()
def main(args: argparse.Namespace) -> None:
    if args.memory:
        print(*held_by_one(args))
        return
    seconds = interleaved(ways_of(args), args.turns)
    for name, taken in seconds.items():
        print(f"{name}: {median(taken):.2f} s")
    print("| way | seconds added | / as many of 512 px | without the networks |\n|---|---|---|---|")
    for way, times in (("large", 1), ("ten", MANY))[: 1 + args.ten]:
        extra, whole, around = added(seconds, way, times)
        print(f"| {way} | {extra:.2f} | {whole} | {around} |", flush=True)
    held = run([sys.executable, "-m", "benchmarks.large_in_the_nodes", "--memory", *sys.argv[1:]], capture_output=True)
    whole, alone = map(float, held.stdout.split()[-2:])
    print(f"memory beyond the picture and the mask: {whole:.2f} pictures, {alone:.2f} beyond the networks'")


if __name__ == "__main__":
    main(parse_args())
