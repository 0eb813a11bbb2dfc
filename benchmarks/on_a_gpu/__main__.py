"""Both methods on a machine with one card, in at most eight minutes: speed, memory, agreement with the CPU; one JSON.

    python -m benchmarks.on_a_gpu --out card.json
    python -m benchmarks.on_a_gpu --small --device cpu --out small.json    # the same of tiny networks, in seconds

It needs torch, NumPy, SciPy and safetensors, for the networks are built in torch alone where diffusers is missing; the
second and third stage of YOEO's training need lpips and transformers besides, the nano's pictures need Pillow.
Networks of full size have random weights.  What cannot run, for want of memory, time or a library, is absent with the
reason.
"""

import argparse
import json
import math
from pathlib import Path
from platform import processor
from time import perf_counter

import torch

from benchmarks.on_a_gpu.agreeing import agreeing
from benchmarks.on_a_gpu.attending import attending
from benchmarks.on_a_gpu.book import Book, Setting
from benchmarks.on_a_gpu.erasing import erasing
from benchmarks.on_a_gpu.training import training
from benchmarks.plain import HAS_DIFFUSERS

# A section's share of the time, and what fills it in; what agrees is known first and costs least.
SECTIONS = {"agreement": (0.1, agreeing), "erasing": (0.25, erasing), "attention": (0.25, attending)}
SECTIONS |= {"training": (0.4, training)}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--device", default="cuda", help="(%(default)s)")
    parser.add_argument("--small", action="store_true", help="tiny networks and pictures")
    parser.add_argument("--minutes", type=float, default=8, help="after which nothing new is begun (%(default)s)")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=list(SECTIONS), help="(all)")
    return parser.parse_args(argv)


def measure(args: argparse.Namespace) -> dict:
    """Every section's entries, each a dict of numbers or the reason why it is ``absent``."""
    started, setting = perf_counter(), Setting(torch.device(args.device), args.small)
    found = {"where": where(setting), "sections": {}}
    share = sum(SECTIONS[name][0] for name in args.only)
    for name in args.only:
        own, fill_in = SECTIONS[name]
        book = Book(setting, seconds=60 * args.minutes * own / share)
        fill_in(book)
        found["sections"][name] = book.entries
        args.out.write_text(json.dumps(found, indent=1))  # what is known is kept if the next ends it all
    found["seconds"] = round(perf_counter() - started, 1)
    args.out.write_text(json.dumps(found, indent=1))
    return found


def where(setting: Setting) -> dict:
    """What it was run on."""
    on_card = setting.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(setting.device) if on_card else processor() or "a CPU",
        "torch": torch.__version__,
        "networks": "diffusers" if HAS_DIFFUSERS else "torch alone",
        "small": setting.small,
    }


def tables(found: dict) -> str:
    """The JSON as Markdown, one table for each section and kind of entry."""
    lines = [", ".join(f"{name}: {value}" for name, value in found["where"].items())]
    for section, entries in found["sections"].items():
        columns = list(dict.fromkeys(name for entry in entries.values() for name in entry))
        lines += ["", f"## {section}", "", "| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        lines += [row(name, entry, columns) for name, entry in entries.items()]
    return "\n".join(lines)


def row(name: str, entry: dict, columns: list[str]) -> str:
    return f"| {name} | " + " | ".join(written(entry.get(column, "")) for column in columns) + " |"


def written(value: object) -> str:
    if isinstance(value, float) and math.isfinite(value) and value:
        return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
    return str(value)


if __name__ == "__main__":
    print(tables(measure(parse_args())))
