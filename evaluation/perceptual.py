"""Perceptual distances to the truth: LPIPS, and the shift-tolerant one whose package carries its weights."""

from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from evaluation.scene import Scene
from evaluation.scorer import LOWER, Absent, Column, Scorer
from evaluation.weights import hash_of, published_file
from inpainting_core.masks import Box

SIDE_PX = 512  # the whole picture is brought to this square, as AttentiveEraser's evaluation has it
CROP_PX = 256  # the hole's box, with a quarter more on each side
TRUNKS = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}


def lpips(device: str, trunk: str = "alex") -> Scorer:
    """LPIPS (Zhang et al. 2018), version 0.1.  Raises Absent without its package or its trunk's weights."""
    if find_spec("lpips") is None:
        raise Absent("needs the package lpips. Get it: pip install lpips")
    weights = published_file(TRUNKS[trunk])
    from lpips import LPIPS

    made_by = {"network": f"LPIPS 0.1, {trunk}, lpips {metadata.version('lpips')}", "weights": hash_of(weights)}
    return scorer("lpips", LPIPS(net=trunk, verbose=False), made_by, device)


def stlpips(device: str, trunk: str = "alex") -> Scorer:
    """ST-LPIPS (Ghildyal & Liu 2022): another network than LPIPS, and other numbers."""
    if find_spec("stlpips_pytorch") is None:
        raise Absent("needs the package stlpips-pytorch. Get it: pip install stlpips-pytorch ipython torchsummary")
    from stlpips_pytorch import stlpips as package

    weights = Path(package.__file__).parent / "weights" / "vST0.0" / f"{trunk}_shift_tolerant.pth"
    network = package.LPIPS(net=trunk, variant="shift_tolerant", verbose=False)
    version = metadata.version("stlpips-pytorch")
    made_by = {"network": f"ST-LPIPS {version}, {trunk}, shift-tolerant", "weights": hash_of(weights)}
    return scorer("stlpips", network, made_by, device)


def scorer(name: str, network: nn.Module, made_by: dict, device: str) -> Scorer:
    """Two columns of one distance of pictures in [-1, 1], ``[1, 3, h, w]`` each."""
    network = network.eval().requires_grad_(False).to(device)
    columns = {
        name: Column(LOWER, f"of the whole picture at {SIDE_PX} x {SIDE_PX}"),
        f"{name}_hole": Column(LOWER, f"of the mask's box and a quarter more around it, at {CROP_PX} x {CROP_PX}"),
    }
    made_by = made_by | {"whole_px": SIDE_PX, "hole_px": CROP_PX}
    return Scorer(name, columns, measuring(name, network, device), made_by, needs_truth=True)


def measuring(name: str, network: nn.Module, device: str) -> Callable[[Scene], dict[str, float]]:
    @torch.no_grad()
    def measure(scene: Scene) -> dict[str, float]:
        rows, columns = around(scene.box, scene.mask.shape[-2:])
        whole = [square(x, SIDE_PX) for x in (scene.result, scene.truth)]
        hole = [square(x[..., rows, columns], CROP_PX) for x in (scene.result, scene.truth)]
        pairs = {name: whole, f"{name}_hole": hole}
        return {column: float(network(*[(2 * x - 1).to(device) for x in pair])) for column, pair in pairs.items()}

    return measure


def square(image: Tensor, side: int) -> Tensor:
    return interpolate(image, (side, side), mode="bilinear", antialias=True).clamp(0, 1)


def around(box: Box, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a box and a quarter of it more on each side, inside the picture."""
    top, left, bottom, right = box
    down, across = (bottom - top) // 4, (right - left) // 4
    return (
        slice(max(0, top - down), min(size[0], bottom + down)),
        slice(max(0, left - across), min(size[1], right + across)),
    )
