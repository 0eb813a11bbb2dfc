"""The networks that a card is measured with: SD2's shape with random weights, or one of the same parts that is tiny."""

import torch

from benchmarks.on_a_gpu.book import Setting
from benchmarks.plain import build_unet, build_vae
from inpainting_core.architecture import SD2_INPAINT, ModelConfig, UNetShape, VAEShape
from inpainting_core.checkpoint import read_checkpoint
from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import DiffusersEngine

TINY = ModelConfig(
    unet=UNetShape((32, 64), (True, False), heads=None, head_dim=16, context_dim=64, linear_projection=True),
    vae=VAEShape(channels=(32, 32, 32, 32), layers=1),
    resolution=64,
)


def config_of(setting: Setting) -> ModelConfig:
    return TINY if setting.small else SD2_INPAINT


def engine_of(setting: Setting, dtype: torch.dtype) -> DiffusersEngine:
    """An engine of random weights, the same ones every time."""
    config = config_of(setting)
    torch.manual_seed(0)
    with torch.device(setting.device):
        networks = [build(shape) for build, shape in ((build_unet, config.unet), (build_vae, config.vae))]
        tokens = torch.randn(1, 77, config.unet.context_dim)
    unet, vae = (network.to(dtype).eval().requires_grad_(False) for network in networks)
    return DiffusersEngine(config, unet, vae, Prompt(tokens.to(dtype)))


def engine_from(path: str, device: torch.device) -> DiffusersEngine:
    """An engine on a checkpoint of ours in fp32."""
    checkpoint = read_checkpoint(path)
    unet, vae = build_unet(checkpoint.config.unet), build_vae(checkpoint.config.vae)
    for network, weights in ((unet, checkpoint.unet), (vae, checkpoint.vae)):
        network.load_state_dict(weights)
        network.to(device, torch.float32).eval().requires_grad_(False)
    return DiffusersEngine(checkpoint.config, unet, vae, checkpoint.empty_prompt.to(device, torch.float32))
