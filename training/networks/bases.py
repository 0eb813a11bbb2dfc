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
SMALL = replace(NANO, unet=replace(NANO.unet, channels=(96, 160, 192)), resolution=256)
FRESH = {"nano": NANO, "small": SMALL}


@dataclass(frozen=True)
class Networks:
    """A base to train from: its configuration, its networks and what the empty prompt tells them."""

    config: ModelConfig
    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    empty_prompt: Prompt


def load_networks(source: str, vae: str | None = None, base: str | None = None) -> Networks:
    """What ``source`` holds: a checkpoint, or ``nano`` or ``small``, fresh weights with the autoencoder of ``vae``.

    ``base`` is the checkpoint that a UNet alone is laid over.  Weights come in fp32, as they are.
    Raises ValueError where fresh weights have no autoencoder, and where a checkpoint lacks a part or is given a second
    autoencoder, besides what ``read_checkpoint`` raises.
    """
    if source in FRESH:
        if vae is None:
            rule = "needs --vae, the folder that training.train_vae wrote or a checkpoint to take it from"
            raise ValueError(f"a {source} from scratch {rule}, got none.")
        return fresh(FRESH[source], read_tiny_vae(vae))
    if vae is not None:
        rule = f"--vae is for --base {' or '.join(FRESH)} alone"
        raise ValueError(f"{rule}, got it with {source}, which has an autoencoder of its own.")
    checkpoint = read_checkpoint(source, read_checkpoint(base) if base else None)
    if checkpoint.vae is None or checkpoint.empty_prompt is None:
        missing = "an autoencoder" if checkpoint.vae is None else "the embedding of the empty prompt"
        rule = "a checkpoint to train from must be complete"
        raise ValueError(f"{rule}, got {source} without {missing}: give a whole one as --base.")
    return Networks(
        checkpoint.config, load_unet(checkpoint), load_vae(checkpoint), checkpoint.empty_prompt.to(torch.float32)
    )


def read_tiny_vae(path: str | Path) -> AutoencoderTiny:
    """The autoencoder in a folder of training.train_vae, or in a nano's checkpoint.

    Raises ValueError for a checkpoint with another kind or with none.
    """
    if Path(path).is_dir():
        return AutoencoderTiny.from_pretrained(path)
    checkpoint = read_checkpoint(path)
    if checkpoint.vae is None or checkpoint.config.vae.kind != "tiny":
        kind = "none" if checkpoint.vae is None else checkpoint.config.vae.kind
        raise ValueError(f"fresh weights take a nano's autoencoder, of kind tiny, got {kind} in {path}.")
    vae = load_vae(checkpoint)
    vae.register_to_config(scaling_factor=checkpoint.config.vae.scale)
    return vae


def fresh(config: ModelConfig, vae: AutoencoderTiny) -> Networks:
    """A built-in size with fresh weights; its one prompt is a fixed random embedding."""
    config = replace(config, vae=replace(config.vae, scale=vae.config.scaling_factor))
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
