"""The networks that a card is measured with: SD2's shape with random weights, or one of the same parts that is tiny."""

import torch

from benchmarks.on_a_gpu.book import Setting
from benchmarks.plain import build_unet, build_vae
from benchmarks.random_engine import TINY, random_engine
from inpainting_core.architecture import SD2_INPAINT, ModelConfig
from inpainting_core.checkpoint import read_checkpoint
from inpainting_core.engine import DiffusersEngine


def config_of(setting: Setting) -> ModelConfig:
    return TINY if setting.small else SD2_INPAINT


def engine_of(setting: Setting, dtype: torch.dtype) -> DiffusersEngine:
    return random_engine(config_of(setting), setting.device, dtype)


def engine_from(path: str, device: torch.device) -> DiffusersEngine:
    """An engine on a checkpoint of ours in fp32."""
    checkpoint = read_checkpoint(path)
    unet, vae = build_unet(checkpoint.config.unet), build_vae(checkpoint.config.vae)
    for network, weights in ((unet, checkpoint.unet), (vae, checkpoint.vae)):
        network.load_state_dict(weights)
        network.to(device, torch.float32).eval().requires_grad_(False)
    return DiffusersEngine(checkpoint.config, unet, vae, checkpoint.empty_prompt.to(device, torch.float32))
