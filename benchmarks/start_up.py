"""What the pack adds to the start of a ComfyUI: the seconds that its import takes, and what it imports.

    python -m benchmarks.start_up --comfyui FOLDER [--runs 7]

Each run is a process of its own, which imports what ComfyUI's main.py imports and then has ComfyUI load a copy of the
pack: its ``__init__.py``, its entry point, its nodes and their schemas.  ComfyUI's built-in extra nodes stay out, so
that nothing that only they import is had for nothing.  The first run comes right after installing and compiles the
pack.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns
from statistics import median
from subprocess import run
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("accelerate", "cv2", "diffusers", "jaxtyping", "transformers")
LOAD = """
import asyncio, json, sys, time
comfyui, pack, barred = sys.argv[1:]
sys.argv[1:] = []
sys.path.insert(0, comfyui)
import utils.extra_config
from comfy.cli_args import args
args.cpu = True
import execution, server, nodes, comfy_config.config_parser
before, known = set(sys.modules), set(nodes.NODE_CLASS_MAPPINGS)
sys.modules.update({name: None for name in json.loads(barred) if name not in sys.modules})
wall, work = time.perf_counter(), time.process_time()
loaded = asyncio.run(nodes.load_custom_node(pack))
wall, work = time.perf_counter() - wall, time.process_time() - work
after = {name for name, module in sys.modules.items() if module is not None}
print(json.dumps({
    "wall": wall,
    "work": work,
    "loaded": loaded,
    "nodes": sorted(set(nodes.NODE_CLASS_MAPPINGS) - known),
    "before": sorted(before),
    "brought": sorted(after - before),
}))
"""


def load(comfyui: Path, pack: Path, barred: tuple[str, ...] = ()) -> dict:
    """How ComfyUI loaded a pack in a process of its own: wall and processor seconds, the pack's nodes, and the modules
    that were there before and that it brought.  ``barred`` modules cannot be imported, unless ComfyUI had them already.
    Raises RuntimeError where the process fails.
    """
    command = [sys.executable, "-c", LOAD, comfyui.resolve(), pack.resolve(), json.dumps(barred)]
    compiling = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = run(command, cwd=pack, env=compiling, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ComfyUI must load the pack, got exit code {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def spread(seconds: list[float]) -> str:
    return f"{median(seconds):.3f} s (from {min(seconds):.3f} to {max(seconds):.3f})"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, default=ROOT / ".comfyui", help="ComfyUI's folder (%(default)s)")
    parser.add_argument("--runs", type=int, default=7, help="processes after the first (%(default)s)")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    with TemporaryDirectory() as folder:
        pack = Path(folder) / "erase-once"
        copytree(ROOT, pack, ignore=ignore_patterns(".*", "__pycache__", "runs", "tests", "benchmarks"))
        first, *later = [load(args.comfyui, pack) for _ in range(args.runs + 1)]
    print(f"right after installing:  wall {first['wall']:.3f} s, processor {first['work']:.3f} s")
    print(f"later, {args.runs} processes:      wall {spread([one['wall'] for one in later])}")
    print(f"                         processor {spread([one['work'] for one in later])}")
    for name in HEAVY:
        owner = "ComfyUI" if name in first["before"] else "the pack" if name in first["brought"] else "nobody"
        print(f"{name:>24} imported by {owner}")


if __name__ == "__main__":
    main(parse_args())
