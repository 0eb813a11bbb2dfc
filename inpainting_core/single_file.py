"""The single file of Stable Diffusion: where it keeps the UNet and the autoencoder, by the names of LDM (CompVis)."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from inpainting_core.architecture import ModelConfig, UNetShape, VAEShape
from inpainting_core.ldm_keys import Slot, unet_layout, vae_layout
from inpainting_core.state_dicts import fitting, require_nothing_else

UNET, VAE = "model.diffusion_model.", "first_stage_model."

# The UNet's average over a training.  Its names have lost their dots.
EMA, EMA_UNET = "model_ema.", "diffusion_model."

# What ComfyUI's class for the tiny autoencoder stores besides its layers: no scale, no shift.
TINY_CONSTANTS = {"vae_scale": 1.0, "vae_shift": 0.0}


def names_of(config: ModelConfig) -> set[str]:
    """Every name that a single file with this configuration keeps a weight of its UNet or autoencoder under."""
    unet = {UNET + slot.ldm for slot in unet_layout(config.unet).values()}
    constants = TINY_CONSTANTS if config.vae.kind == "tiny" else ()
    return unet | {VAE + slot.ldm for slot in vae_layout(config.vae).values()} | {VAE + name for name in constants}


def unet_from(tensors: Mapping[str, Tensor], shape: UNetShape, prefix: str, source: str) -> dict[str, Tensor]:
    """The UNet in diffusers' names.  Raises ValueError for the first weight that is missing or misshapen."""
    return _from_ldm(tensors, unet_layout(shape), prefix, source)


def vae_from(tensors: Mapping[str, Tensor], shape: VAEShape, source: str) -> dict[str, Tensor] | None:
    """The autoencoder in diffusers' names, None where a file has none; raises as ``unet_from``."""
    layout = vae_layout(shape)
    if not any(VAE + slot.ldm in tensors for slot in layout.values()):
        return None
    return _from_ldm(tensors, layout, VAE, source)


def unet_into(weights: Mapping[str, Tensor], shape: UNetShape) -> dict[str, Tensor]:
    """The inverse of ``unet_from``."""
    return _to_ldm(weights, unet_layout(shape), UNET, "the UNet")


def vae_into(weights: Mapping[str, Tensor], shape: VAEShape) -> dict[str, Tensor]:
    """The inverse of ``vae_from``, with the constants that ComfyUI wants."""
    constants = TINY_CONSTANTS if shape.kind == "tiny" else {}
    tensors = _to_ldm(weights, vae_layout(shape), VAE, "the autoencoder")
    return tensors | {VAE + name: torch.tensor(value) for name, value in constants.items()}


def with_average_as_unet(tensors: Mapping[str, Tensor], shapes: Iterable[UNetShape]) -> dict[str, Tensor]:
    """The tensors of a file that holds the UNet's average alone, with that as the UNet.

    Its names' dots are told from the names of all these ``shapes``.  A file that holds a UNet too is left as it is.
    """
    if any(key.startswith(UNET) for key in tensors):
        return dict(tensors)
    names = [slot.ldm for shape in shapes for slot in unet_layout(shape).values()]
    dotted = {EMA + (EMA_UNET + name).replace(".", ""): UNET + name for name in names}
    return {dotted.get(key, key): value for key, value in tensors.items()}


def _from_ldm(tensors: Mapping[str, Tensor], layout: Mapping[str, Slot], prefix: str, source: str) -> dict[str, Tensor]:
    found = fitting(tensors, {prefix + slot.ldm: slot.ldm_shape for slot in layout.values()}, source)
    return {ours: found[prefix + slot.ldm].reshape(slot.shape) for ours, slot in layout.items()}


def _to_ldm(weights: Mapping[str, Tensor], layout: Mapping[str, Slot], prefix: str, source: str) -> dict[str, Tensor]:
    """The inverse of ``_from_ldm``; nothing of ours is left out."""
    require_nothing_else([key for key in weights if key not in layout], source)
    found = fitting(weights, {ours: slot.shape for ours, slot in layout.items()}, source)
    return {prefix + slot.ldm: found[ours].reshape(slot.ldm_shape) for ours, slot in layout.items()}
