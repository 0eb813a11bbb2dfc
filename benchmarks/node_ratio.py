"""What the Erase nodes add to the bare networks: their time in units of encode, UNet calls and decode.

    python -m benchmarks.node_ratio --comfyui FOLDER [--side 512] [--turns 5] [--profile]

The nodes run in this process, in a ComfyUI on the CPU, on networks of random weights that are large enough to dominate;
*another seed* is a second run of the same picture.  All ways are timed in turn; printed are medians with quartiles.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from cProfile import Profile
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path
from pstats import Stats
from statistics import median

import torch
from torch import Tensor

from benchmarks.interleaved import interleaved, ratios
from inpainting_core.architecture import ModelConfig, UNetShape, VAEShape
from inpainting_core.checkpoint import Checkpoint
from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import build_unet, build_vae

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ModelConfig(
    unet=UNetShape((96, 192, 384), (True, True, True), heads=None, head_dim=32, linear_projection=True),
    vae=VAEShape(channels=(32, 64, 128, 128)),
)
METHODS = {  # the node, its own inputs, its steps and how many pictures it encodes
    "Erase (YOEO)": ("EraseOnceYOEO", {"steps": 2}, 2, 1),
    "Erase (EraDiff)": ("EraseOnceEraDiff", {"steps": 12, "strength": 1.0, "attention": "rectified"}, 12, 2),
}
HOLE = 0.25, 0.65  # of each side


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, default=ROOT / ".comfyui", help="ComfyUI's folder (%(default)s)")
    parser.add_argument("--side", type=int, default=512, help="of the picture in px (%(default)s)")
    parser.add_argument("--turns", type=int, default=5, help="of each way (%(default)s)")
    parser.add_argument("--only", choices=METHODS, nargs="+", default=list(METHODS), help="(both)")
    parser.add_argument("--profile", action="store_true", help="print what a run of each node spends its time in")
    return parser.parse_args(argv)


def load_nodes(comfyui: Path) -> dict[str, type]:
    """The pack's nodes by their name, imported as ComfyUI imports them."""
    sys.path.insert(0, str(comfyui.resolve()))  # before our own folder: ComfyUI owns the name "nodes"
    import_module("comfy.cli_args").args.cpu = True
    spec = spec_from_file_location(str(ROOT), ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    sys.modules[str(ROOT)] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[str(ROOT)])
    extension = asyncio.run(sys.modules[str(ROOT)].comfy_entrypoint())
    return {node.__name__: node for node in asyncio.run(extension.get_node_list())}


def load_model(config: ModelConfig = CONFIG) -> dict:
    """What Load Erase Model gives, of random weights."""
    torch.manual_seed(0)
    prompt = Prompt(torch.randn(1, 77, config.unet.context_dim))
    checkpoint = Checkpoint(config, build_unet(config.unet).state_dict(), build_vae(config.vae).state_dict(), prompt)
    model, boundary = (sys.modules[f"{ROOT}.nodes.{name}"] for name in ("model", "boundary"))
    conditioning = boundary.conditioning_from(prompt)
    return {"model": model.build_model(checkpoint), "vae": model.build_vae(checkpoint), "conditioning": conditioning}


def bare(loaded: dict, side: int, steps: int, encodings: int, draws: int = 1) -> Callable[[], Tensor]:
    """The networks' own calls and nothing else; a step is of so many latents."""
    unet, vae = loaded["model"].model.diffusion_model, loaded["vae"].first_stage_model
    told = torch.tensor([500.0]).expand(draws), loaded["conditioning"][0][0].expand(draws, -1, -1)
    picture, fed = torch.rand(1, 3, side, side), torch.randn(draws, 9, side // 8, side // 8)

    def calls() -> Tensor:
        for _ in range(encodings):
            latent = vae.encode(picture)
        for _ in range(steps):
            unet(fed, told[0], context=told[1])
        return vae.decode(latent)

    return calls


def ways_of(name: str, nodes: dict[str, type], loaded: dict, side: int) -> dict[str, Callable[[], object]]:
    node, own, steps, encodings = METHODS[name]
    mask, pictures = torch.zeros(1, side, side), count()
    rows = slice(*(round(part * side) for part in HOLE))
    mask[:, rows, rows] = 1
    where = {"grow": 5, "context": 0.5, "resolution": side}

    def erase(number: int, seed: int) -> object:
        image = torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(number))
        return nodes[node].execute(**loaded, image=image, mask=mask, seed=seed, **where, **own)

    return {
        "bare": bare(loaded, side, steps, encodings),
        "node": lambda: erase(next(pictures), 0),
        "another seed": lambda: erase(0, next(pictures)),
    }


@torch.inference_mode()
def main(args: argparse.Namespace) -> None:
    nodes, loaded = load_nodes(args.comfyui), load_model()
    print("| node | bare, s | node / bare | another seed / bare |\n|---|---|---|---|")
    for name in args.only:
        ways = ways_of(name, nodes, loaded, args.side)
        seconds = interleaved(ways, args.turns)
        found = ratios(seconds, "bare")
        print(f"| {name} | {median(seconds['bare']):.2f} | {found['node']} | {found['another seed']} |", flush=True)
        if args.profile:
            with Profile() as profile:
                ways["node"]()
            Stats(profile).sort_stats("tottime").print_stats(12)


if __name__ == "__main__":
    main(parse_args())
