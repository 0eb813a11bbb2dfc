"""Where a run starts and what it leaves: the networks of a base, a fresh nano, and the file at the end."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from torch import nn

from inpainting_core.architecture import ModelConfig, UNetShape, VAEShape
from inpainting_core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import build_unet, load_unet, load_vae

NANO = ModelConfig(
    unet=UNetShape(
        channels=(64, 96, 128), attention=(True, True, False), layers=1, heads=None, head_dim=32, context_dim=64
    ),
    vae=VAEShape(kind="tiny"),
    prediction="v_prediction",
    resolution=192,
)


@dataclass(frozen=True)
class Networks:
    """A base to train from: its configuration, its networks and what the empty prompt tells them."""

    config: ModelConfig
    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    empty_prompt: Prompt


def load_networks(source: str, vae: str | None = None, base: str | None = None) -> Networks:
    """What ``source`` holds: ``nano`` (fresh weights, the autoencoder in the folder ``vae``) or a checkpoint.

    ``base`` is the checkpoint that a UNet alone is laid over.  Weights come in fp32, as they are.
    Raises ValueError where a fresh nano has no autoencoder or a checkpoint lacks a part, besides what
    ``read_checkpoint`` raises.
    """
    if source == "nano":
        if vae is None:
            raise ValueError("a nano from scratch needs --vae, the folder that training.train_vae wrote, got none.")
        return fresh_nano(AutoencoderTiny.from_pretrained(vae))
    checkpoint = read_checkpoint(source, read_checkpoint(base) if base else None)
    if checkpoint.vae is None or checkpoint.empty_prompt is None:
        missing = "an autoencoder" if checkpoint.vae is None else "the embedding of the empty prompt"
        rule = "a checkpoint to train from must be complete"
        raise ValueError(f"{rule}, got {source} without {missing}: give a whole one as --base.")
    return Networks(
        checkpoint.config, load_unet(checkpoint), load_vae(checkpoint), checkpoint.empty_prompt.to(torch.float32)
    )


def fresh_nano(vae: AutoencoderTiny) -> Networks:
    """The built-in small model with fresh weights; its one prompt is a fixed random embedding."""
    config = replace(NANO, vae=replace(NANO.vae, scale=vae.config.scaling_factor))
    prompt = torch.randn(1, 4, config.unet.context_dim, generator=torch.Generator().manual_seed(0))
    return Networks(config, start_at_zero_(build_unet(config.unet)), vae, Prompt(prompt))


@torch.no_grad()
def start_at_zero_(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """Zero the last layer of every residual branch and of the network: it starts simple and trains faster."""
    for name, module in unet.named_modules():
        if name.endswith((".conv2", ".proj_out")) or name == "conv_out":
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return unet


def save_networks(
    path: str | Path,
    networks: Networks,
    trained: nn.Module,
    config: ModelConfig,
    training: dict[str, object],
    dtype: torch.dtype,
) -> None:
    """Write a ``trained`` UNet with the base's autoencoder and prompt as one ComfyUI file of ``dtype``.

    ``training`` is what the file says of how it was made.
    """
    vae = {key: value.detach().cpu() for key, value in networks.vae.state_dict().items()}
    unet = {key: value.detach().cpu() for key, value in trained.state_dict().items()}
    config = replace(config, training=training)
    write_checkpoint(path, Checkpoint(config=config, unet=unet, vae=vae, empty_prompt=networks.empty_prompt), dtype)
