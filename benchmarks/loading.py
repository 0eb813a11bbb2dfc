"""What loading a single file costs beside safetensors' own reading: time, and memory in units of the file.

    python -m benchmarks.loading --work /tmp/load --comfyui FOLDER [--turns 3] [--model SD1.5 --dtype fp32]

The file has random weights (SD1.5 in fp32: 3.8 GB) and is written once.  Each way loads it in a process of its own and
looks at every page of every weight it holds then.  Ways are timed in turn: in processor seconds while the operating
system has the file in memory, and with ``--from-disk`` by the clock, after it has dropped it each time.  *anonymous* is
what cannot be dropped again, *most* counts the file's own pages too.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from subprocess import run
from time import perf_counter, process_time

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.interleaved import ratios
from benchmarks.node_ratio import ROOT, load_nodes
from benchmarks.random_engine import TINY, random_engine
from benchmarks.sra_ratio import MODELS
from inpainting_core.checkpoint import DTYPES, Checkpoint, write_checkpoint
from inpainting_core.engine import load_engine

PAGE = 4096  # bytes
KB = 1024


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the file")
    parser.add_argument("--comfyui", type=Path, default=ROOT / ".comfyui", help="ComfyUI's folder (%(default)s)")
    parser.add_argument("--model", choices=[*MODELS, "tiny"], default="SD1.5", help="(%(default)s)")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32", help="of the file's weights (%(default)s)")
    parser.add_argument("--from-disk", action="store_true", help="read it from the disk each time")
    parser.add_argument("--turns", type=int, default=3, help="processes of each way (%(default)s)")
    parser.add_argument("--only", choices=WAYS, nargs="+", default=list(WAYS), help="(all)")
    parser.add_argument("--way", choices=WAYS, help="load the file this way, in this process")
    return parser.parse_args(argv)


def by_safetensors(file: Path) -> Iterable[Tensor]:
    return load_file(file).values()


def outside(file: Path) -> Iterable[Tensor]:
    """As ``training.erase`` and the other scripts load it."""
    engine = load_engine(file)
    return [weight for part in (engine.unet, engine.vae) for weight in part.state_dict().values()]


def in_the_node(file: Path) -> Iterable[Tensor]:
    """As Load Erase Model does, besides looking the file up."""
    model, checkpoint = (sys.modules[f"{ROOT}.{name}"] for name in ("nodes.model", "nodes.load"))
    read = checkpoint.read_checkpoint(file)
    patcher, vae = model.build_model(read), model.build_vae(read)
    parts = patcher.model.diffusion_model, vae.first_stage_model
    return [weight for part in parts for weight in part.state_dict().values()]


WAYS: dict[str, Callable[[Path], Iterable[Tensor]]] = {
    "safetensors": by_safetensors,
    "outside": outside,
    "node": in_the_node,
}


def write_file(args: argparse.Namespace) -> Path:
    """A checkpoint of random weights, unless it is there."""
    file = args.work / f"{args.model}-{args.dtype}.safetensors"
    if not file.exists():
        config = TINY if args.model == "tiny" else MODELS[args.model]
        made = random_engine(config, dtype=DTYPES[args.dtype])
        args.work.mkdir(parents=True, exist_ok=True)
        checkpoint = Checkpoint(config, made.unet.state_dict(), made.vae.state_dict(), made.prompt)
        write_checkpoint(file, checkpoint, DTYPES[args.dtype])
    return file


@torch.inference_mode()
def measure(way: str, file: Path, comfyui: Path, from_disk: bool) -> dict[str, float]:
    """Seconds, and bytes beyond what the process held before: most, and anonymous ones at the end."""
    torch.set_num_threads(1)
    load_nodes(comfyui) if way == "node" else load_engine(ROOT / "assets" / "nano.safetensors")
    if from_disk:
        drop_from_memory(file)
    clock = perf_counter if from_disk else process_time
    before, started = memory(), clock()
    weights = WAYS[way](file)
    for weight in weights:
        weight.flatten()[:: max(1, PAGE // weight.element_size())].sum().item()
    seconds = clock() - started
    after = memory()
    return {
        "seconds": seconds,
        "most": after["VmHWM"] - before["VmRSS"],
        "anonymous": after["RssAnon"] - before["RssAnon"],
    }


def drop_from_memory(file: Path) -> None:
    """Have the operating system forget what it holds of a file that is on the disk."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def memory() -> dict[str, int]:
    """What Linux says of this process, in bytes."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * KB for words in lines if words[-1] == "kB"}


def in_a_process(way: str, args: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.loading", "--way", way, "--model", args.model, "--dtype", args.dtype]
    command += ["--work", str(args.work), "--comfyui", str(args.comfyui)] + ["--from-disk"] * args.from_disk
    return json.loads(run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main(args: argparse.Namespace) -> None:
    file = write_file(args)
    if args.way:
        print(json.dumps(measure(args.way, file, args.comfyui, args.from_disk)))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in args.only}
    for turn in range(-1, args.turns):  # the first brings the file into memory
        for way in args.only[:: 1 if turn % 2 else -1]:
            one = in_a_process(way, args)
            found[way] += [one] if turn >= 0 else []
    beside = ratios({way: [one["seconds"] for one in runs] for way, runs in found.items()}, args.only[0])
    size = file.stat().st_size
    print(f"{file.name}, {size / 1e9:.2f} GB\n| way | s | / {args.only[0]} | most / file | anonymous / file |")
    print("|---|---|---|---|---|")
    for way, runs in found.items():
        seconds, most, anonymous = (median(one[key] for one in runs) for key in ("seconds", "most", "anonymous"))
        print(f"| {way} | {seconds:.2f} | {beside[way]} | {most / size:.2f} | {anonymous / size:.2f} |", flush=True)


if __name__ == "__main__":
    main(parse_args())
