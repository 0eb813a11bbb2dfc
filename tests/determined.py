"""Everything that a seed or a picture determines, run at small sizes; as a command: the digest of each, by its name."""

import json
import sys
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import torch
from in_comfyui import load_pack, nodes, room
from tiny import TINY, UNET, tiny_checkpoint, tiny_config, tiny_detector
from torch import Tensor

from eradiff_core import pipeline as eradiff
from eradiff_core.attention import rectifier
from eradiff_core.sampler import ddim
from eradiff_core.sampler import path as eradiff_path
from inpainting_core.built_in import NANO_OF
from inpainting_core.choosing import draw_noise
from inpainting_core.engine import DiffusersEngine
from inpainting_core.exemplar import complete
from inpainting_core.masks import to_grid
from inpainting_core.protocol import Inputs
from training.erasing.eraser import load_eraser
from training.erasing.flags import parse_args
from yoeo_core import pipeline as yoeo
from yoeo_core.consistency import lcm
from yoeo_core.consistency import path as yoeo_path

METHODS = {"yoeo": yoeo, "eradiff": eradiff}
NODES = {
    "EraseOnceYOEO": (NANO_OF["yoeo"], {}),
    "EraseOnceEraDiff": (NANO_OF["eradiff"], {"strength": 1.0, "attention": "rectified"}),
}
Way = Callable[[Tensor, Tensor, int], list[Tensor]]  # IMAGE, MASK and a seed -> all that comes out


def pictures(height: int = 96, width: int = 128, seed: int = 7) -> tuple[Tensor, Tensor]:
    """Two unlike pictures as an IMAGE, and their two unlike holes as a MASK."""
    coarse = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(seed))
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1).movedim(1, -1)
    mask = torch.zeros(2, height, width)
    mask[0, 40:56, 40:60], mask[1, 20:34, 80:100] = 1, 1
    return image, mask


def all_ways(comfyui: Path) -> dict[str, Way]:
    """Each way that leads through chance or through a network, by its name: 64 px and few steps."""
    load_pack(comfyui)
    nodes()
    return {**in_python(), **as_nodes()}


def in_python() -> dict[str, Way]:
    engine = DiffusersEngine.of(tiny_checkpoint(tiny_config(UNET, TINY)))
    ways = {name: partial(by_sampler, engine, name) for name in ("lcm", "ddim")} | {"copy": by_copying}
    for name, method in METHODS.items():
        ways |= {f"{name}, tiny": partial(by_pipeline, method, engine), f"training.erase {name}, nano": by_script(name)}
    return ways


def by_pipeline(method: ModuleType, engine: DiffusersEngine, image: Tensor, mask: Tensor, seed: int) -> list[Tensor]:
    settings = {"steps": 2, "seed": seed, "candidates": 3, "grow_px": 3, "resolution": 64}
    erased = method.erase(engine, image.movedim(-1, 1), mask, **settings)
    return [erased.image, erased.changed, erased.candidates]


def by_script(name: str) -> Way:
    """As the flags of ``training.erase`` have it, with the nano judge; it is given one picture after another."""
    flags = f"--method {name} --model nano --detector nano --images x --masks x --out x"
    flags += " --steps 2 --grow 3 --resolution 64 --seed "

    def erase(image: Tensor, mask: Tensor, seed: int) -> list[Tensor]:
        eraser = load_eraser(parse_args([*flags.split(), str(seed)]))
        pairs = zip(image.movedim(-1, 1).split(1), mask[:, None].split(1), strict=True)
        return [torch.cat([eraser.erase(*pair).image for pair in pairs])]

    return erase


def by_sampler(engine: DiffusersEngine, name: str, image: Tensor, mask: Tensor, seed: int) -> list[Tensor]:
    """A sampler by itself, along the whole of a picture, one picture after another."""
    made = []
    for one, hole in zip(image.movedim(-1, 1).split(1), mask[:, None].split(1), strict=True):
        masked, generators = engine.encode(one), [torch.Generator().manual_seed(seed)]
        hole = to_grid(hole, *masked.shape[-2:])
        sampler, sigmas = (lcm(generators), yoeo_path(2)) if name == "lcm" else (ddim, eradiff_path(2))
        attention = None if name == "lcm" else rectifier(hole, "rectified")
        inputs = Inputs(masked, hole, masked, attention)
        made.append(engine.sample(sampler, sigmas, draw_noise(masked.shape, generators), inputs))
    return [torch.cat(made)]


def by_copying(image: Tensor, mask: Tensor, seed: int) -> list[Tensor]:
    pairs = zip(image.movedim(-1, 1).split(1), mask[:, None].split(1), strict=True)
    return [torch.cat([complete(*pair, torch.Generator().manual_seed(seed)) for pair in pairs])]


def as_nodes() -> dict[str, Way]:
    load, look = nodes()["EraseOnceLoadModel"].execute, nodes()["EraseOnceLoadDetector"].execute
    build, small = room("model"), tiny_checkpoint(tiny_config(UNET, TINY))
    prompt = room("boundary").conditioning_from(small.empty_prompt)
    tiny = {"model": build.build_model(small), "vae": build.build_vae(small), "conditioning": prompt}
    ways = {}
    for name, (nano, own) in NODES.items():
        nano = dict(zip(("model", "vae", "conditioning"), load(nano, "none").result, strict=True))
        ways |= {
            f"{name}, nano": partial(by_node, name, nano | own),
            f"{name}, tiny": partial(by_node, name, tiny | own),
        }
    detectors = {"nano": look("nano detector (built in)")[0], "tiny": room("detector").managed(tiny_detector())}
    for name, detector in detectors.items():
        ways |= {f"check, {name}": partial(checked, detector), f"snap, {name}": partial(snapped, detector)}
    return ways


def by_node(name: str, given: dict, image: Tensor, mask: Tensor, seed: int) -> list[Tensor]:
    settings = {"steps": 2, "seed": seed, "grow": 3, "context": 0.5, "resolution": 64}
    return list(nodes()[name].execute(**given, image=image, mask=mask, **settings).result[:3])


def checked(detector, image: Tensor, mask: Tensor, seed: int) -> list[Tensor]:
    found = nodes()["EraseOnceSundryCheck"].execute(image, mask, detector, "custom", 0.1, 0.1)
    return [torch.tensor(found[1]), torch.tensor(found[2]), found[3], found[4]]


def snapped(detector, image: Tensor, mask: Tensor, seed: int) -> list[Tensor]:
    return [nodes()["EraseOnceSnapMask"].execute(image, mask, detector, 2)[0]]


def digest(tensors: list[Tensor]) -> str:
    """A number of all bits of some tensors; NaN and infinity are none of them."""
    assert all(one.isfinite().all() for one in tensors)
    return sha256(b"".join(one.contiguous().cpu().numpy().tobytes() for one in tensors)).hexdigest()


@torch.inference_mode()
def main(comfyui: Path) -> None:
    found = {name: digest(way(*pictures(), 3)) for name, way in all_ways(comfyui).items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
