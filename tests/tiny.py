"""Real networks at sizes that a test can afford, with random weights."""

import torch

from eradiff_core.inpainting.architecture import ModelConfig, UNetShape, VAEShape
from eradiff_core.inpainting.checkpoint import Checkpoint
from eradiff_core.inpainting.engine import build_unet, build_vae

UNET = UNetShape((32, 64), (True, True), layers=1, heads=None, head_dim=32, context_dim=64)
UNET_LIKE_SD15 = UNetShape((32, 64, 64), (True, True, False), layers=2, heads=4, context_dim=64)
UNET_LIKE_SD2 = UNetShape((32, 64), (True, False), heads=None, head_dim=16, context_dim=64, linear_projection=True)
NANO = UNetShape((64, 96, 128), (True, True, False), layers=1, heads=None, head_dim=32, context_dim=64)
KL = VAEShape(channels=(32, 32, 32, 64), layers=1, scale=0.5)
TINY = VAEShape(kind="tiny", scale=0.9)


def tiny_config(unet: UNetShape = UNET, vae: VAEShape = KL, prediction: str = "epsilon") -> ModelConfig:
    return ModelConfig(unet=unet, vae=vae, prediction=prediction, resolution=64)


def tiny_checkpoint(config: ModelConfig | None = None, seed: int = 0) -> Checkpoint:
    """A checkpoint of random weights, the same ones for the same seed."""
    config = config or tiny_config()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet, vae = build_unet(config.unet).state_dict(), build_vae(config.vae).state_dict()
        return Checkpoint(config, unet, vae, torch.randn(1, 4, config.unet.context_dim))
