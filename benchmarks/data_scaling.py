"""How a training's data behave at 10,000, 100,000 and 1,000,000 pictures: start-up, memory and samples a second.

    python -m benchmarks.data_scaling --out docs/scaling.svg          # a few minutes, 200 MB of a temporary folder
    git worktree add /tmp/before 2a3f8b0 && python -m benchmarks.data_scaling --before /tmp/before       # by turns

A folder of a million pictures is a million hard links to a few, shards are links to one of a thousand pictures.  Each
measure is a process of its own: the seconds of processor time from the flags to the first sample, the memory that it
then keeps beyond the libraries, and the samples a second of one worker on 128 px pictures that are all in the cache, so
that only the bookkeeping differs between the sizes.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from training.prepare_shards import write_shards

SIZES = (10_000, 100_000, 1_000_000)
PER_FOLDER, MOST_LINKS = 1000, 30_000  # pictures of a folder or shard; a file system allows no more links to a file
COLOURS = ("#1c7ed6", "#e8590c", "#74b0e0", "#f0a878")
ROOT = Path(__file__).resolve().parent.parent
MEASURE = """
import sys, time
import numpy as np
from psutil import Process
from training.data.pictures import random_view
from training.data.reading import read_bounded
from training.data.stream import Stream, source_of

def sample(index):
    picture = stream.read(index, lambda files: read_bounded(files.picture))
    return random_view(picture, (128, 128), np.random.default_rng(index))

before, started = Process().memory_info().rss, time.process_time()
source = source_of(sys.argv[1])
stream = Stream(source, np.arange(len(source)), [(128, 128)], 1, 0)
sample(0)
ready, held = time.process_time(), Process().memory_info().rss
for index in range(1, 401):
    sample(index * 997)
print(ready - started, (held - before) / 2**20, 400 / (time.process_time() - ready))
"""


def lay_out_folder(work: Path, count: int) -> Path:
    """So many pictures below a folder, a thousand in each of its own."""
    originals = []
    for number in range(-(-count // MOST_LINKS)):
        originals.append(work / f"original_{number}.jpg")
        pixels = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((160, 160), Image.Resampling.BICUBIC).save(originals[-1])
    for number in range(count):
        if number % PER_FOLDER == 0:
            (folder := work / "folder" / f"{number // PER_FOLDER:05d}").mkdir(parents=True)
        os.link(originals[number // MOST_LINKS], folder / f"{number:09d}.jpg")
    return work / "folder"


def lay_out_shards(work: Path, count: int) -> Path:
    """As many in shards."""
    write_shards(lay_out_folder(work / "one", PER_FOLDER), work / "shards" / "set", PER_FOLDER)
    for shard in range(1, count // PER_FOLDER):
        for kind in ("tar", "index.npy"):
            os.link(work / "shards" / f"set-000000.{kind}", work / "shards" / f"set-{shard:06d}.{kind}")
    return work / "shards" / "*.tar"


def measure(images: Path, root: Path) -> dict[str, float]:
    """With the code in ``root``."""
    command, environment = [sys.executable, "-c", MEASURE, str(images)], os.environ | {"PYTHONPATH": str(root)}
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=environment)
    return dict(zip(("start", "memory", "speed"), map(float, ran.stdout.split()[-3:]), strict=True))


def plot(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """Start-up and memory over the number of pictures, both logarithmic, as SVG."""
    marks = []
    for panel, (key, label) in enumerate((("start", "seconds to the first sample"), ("memory", "MB beyond libraries"))):
        left = 60 + 330 * panel
        values = [one[key] for sizes in found.values() for one in sizes.values()]
        low, high = np.floor(np.log10(max(0.01, min(values)))), np.ceil(np.log10(max(values)))
        marks.append(f'<text x="{left}" y="20">{label}</text>')
        for power in range(int(low), int(high) + 1):
            y = 230 - 190 * (power - low) / (high - low)
            marks.append(f'<path d="M{left} {y:.0f}h250" stroke="#ccc"/>')
            marks.append(f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{10.0**power:g}</text>')
        for colour, sizes in zip(COLOURS, found.values(), strict=False):
            points = []
            for place, (size, one) in enumerate(sizes.items()):
                y = 230 - 190 * (np.log10(max(0.01, one[key])) - low) / (high - low)
                points.append(f"{left + 15 + 110 * place},{y:.0f}")
                marks.append(f'<text x="{left + 15 + 110 * place}" y="250" text-anchor="middle">{int(size):,}</text>')
            marks.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for place, (colour, kind) in enumerate(zip(COLOURS, found, strict=False)):
        marks.append(f'<text x="{60 + 140 * place}" y="275" fill="{colour}">{kind}</text>')
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="680" height="285" font-family="sans-serif" font-size="12">'
    return "\n".join([head, '<rect width="680" height="285" fill="white"/>', *marks, "</svg>"])


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of pictures, multiples of 1,000")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier commit, measured by turns with this one")
    parser.add_argument("--out", type=Path, help="SVG file for the plot")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    roots = {"": ROOT} | ({" before": args.before.resolve()} if args.before else {})
    found: dict[str, dict[str, dict[str, float]]] = {kind + when: {} for when in roots for kind in ("folder", "shards")}
    print("| pictures | kept as | seconds to the first sample | MB beyond the libraries | samples a second |")
    print("|---|---|---|---|---|")
    for count in args.sizes:
        for kind, lay_out in (("folder", lay_out_folder), ("shards", lay_out_shards)):
            with TemporaryDirectory() as work:
                (Path(work) / "one").mkdir()
                images = lay_out(Path(work), count)
                for when, root in roots.items():
                    one = found[kind + when][str(count)] = measure(images, root)
                    said = f"{one['start']:.2f} | {one['memory']:.0f} | {one['speed']:.0f}"
                    print(f"| {count:,} | {kind}{when} | {said} |", flush=True)
    if args.out:
        args.out.write_text(plot(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main(parse_args())
