"""A small checkpoint that ComfyUI's stock Load Checkpoint takes for SD1.5-Inpaint.

One UNet level of the real width, the tiny autoencoder, and a text encoder of full size, which ComfyUI does not let be
smaller; random weights.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from inpainting_core.architecture import ModelConfig, UNetShape, VAEShape
from inpainting_core.checkpoint import Checkpoint, write_checkpoint
from inpainting_core.engine import build_unet, build_vae

SHAPE = UNetShape(channels=(320,), attention=(True,), layers=1, heads=8, context_dim=768)
TEXT = "cond_stage_model.transformer.text_model."


def write_stock_checkpoint(path: Path) -> Path:
    """Writes the file (300 MB); the path."""
    torch.manual_seed(0)
    config = ModelConfig(unet=SHAPE, vae=VAEShape(kind="tiny"))
    write_checkpoint(path, Checkpoint(config, build_unet(config.unet).state_dict(), build_vae(config.vae).state_dict()))
    save_file(load_file(path) | text_encoder(), path)
    return path


def text_encoder(width: int = 768, layers: int = 12) -> dict[str, Tensor]:
    """CLIP-L's text model under the names of an SD1.5 checkpoint."""
    shapes = {"embeddings.token_embedding": (49408, width), "embeddings.position_embedding": (77, width)}
    shapes |= {"final_layer_norm": (width,)}
    for layer in range(layers):
        inside = {f"self_attn.{part}_proj": (width, width) for part in ("q", "k", "v", "out")}
        inside |= {"layer_norm1": (width,), "layer_norm2": (width,)}
        inside |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
        shapes |= {f"encoder.layers.{layer}.{name}": shape for name, shape in inside.items()}
    weights = {f"{TEXT}{name}.weight": torch.randn(shape).mul(0.02).half() for name, shape in shapes.items()}
    biases = {
        f"{TEXT}{name}.bias": torch.zeros(shape[0]).half() for name, shape in shapes.items() if "embedding" not in name
    }
    return weights | biases
