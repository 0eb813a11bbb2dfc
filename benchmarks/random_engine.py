"""Engines of random weights, where only time and memory matter."""

from typing import TypeVar

import torch

from benchmarks.plain import build_unet, build_vae
from inpainting_core.architecture import ModelConfig, UNetShape, VAEShape
from inpainting_core.empty_prompt import LENGTH, Prompt
from inpainting_core.engine import DiffusersEngine

TINY = ModelConfig(
    unet=UNetShape((32, 64), (True, False), heads=None, head_dim=16, context_dim=64, linear_projection=True),
    vae=VAEShape(channels=(32, 32, 32, 32), layers=1),
    resolution=64,
)
E = TypeVar("E", bound=DiffusersEngine)


def random_engine(
    config: ModelConfig,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    kind: type[E] = DiffusersEngine,
) -> E:
    """An engine of the kind, the same weights every time."""
    torch.manual_seed(0)
    with torch.device(device):
        networks = [build(shape) for build, shape in ((build_unet, config.unet), (build_vae, config.vae))]
        tokens = torch.randn(1, LENGTH, config.unet.context_dim)
    unet, vae = (network.to(dtype).eval().requires_grad_(False) for network in networks)
    return kind(config, unet, vae, Prompt(tokens.to(dtype)))
