"""Checkpoints: an inpainting model's weights and configuration, from every form it is published in, to one form.

Inside, weights carry diffusers' names.  On disk we write the single file with LDM names that ComfyUI's stock
Load Checkpoint opens, with our configuration in its metadata and the empty prompt's embedding beside the weights.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from inpainting_core.architecture import (
    SD2_INPAINT,
    SD15_INPAINT,
    SDXL_INPAINT,
    ModelConfig,
    UNetShape,
    VAEShape,
)
from inpainting_core.diffusers_folder import (
    read_component,
    read_config,
    read_text_encoders,
    with_new_attention_names,
)
from inpainting_core.empty_prompt import Prompt, encode_empty_prompt, text_weights
from inpainting_core.ldm_keys import Slot, unet_layout, vae_layout
from inpainting_core.state_dicts import read_state_dict, require_fit, write_state_dict

CHANNELS = 9  # noisy latent 4, mask 1, masked picture's latent 4
UNET, VAE, METADATA = "model.diffusion_model.", "first_stage_model.", "erase_once"
PROMPT, POOLED = "erase_once.empty_prompt", "erase_once.empty_pooled"

# What a file of ours may hold for ComfyUI's stock Load Checkpoint: text encoders, and SDXL's mark of v-prediction.
STOCK_ONLY = ("cond_stage_model.", "conditioner.embedders.", "v_pred")

# What ComfyUI's class for the tiny autoencoder stores besides its layers: no scale, no shift.
TINY_CONSTANTS = {"vae_scale": 1.0, "vae_shift": 0.0}

# Published single files carry no configuration: the width of the text they read tells which one they are.
BY_CONTEXT = {768: SD15_INPAINT, 1024: SD2_INPAINT, 2048: SDXL_INPAINT}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model's configuration and weights, by diffusers' names without prefix.

    ``vae`` and ``empty_prompt`` are None where the source holds none: a base can fill them in.
    """

    config: ModelConfig
    unet: dict[str, Tensor]
    vae: dict[str, Tensor] | None = None
    empty_prompt: Prompt | None = None

    def __post_init__(self):
        if self.empty_prompt is not None:
            _require_prompt(self.empty_prompt, self.config.unet)


def read_checkpoint(path: str | Path, base: Checkpoint | None = None) -> Checkpoint:
    """Read a single file, a diffusers folder, or UNet weights that are laid over ``base``.

    ``base`` also gives the autoencoder and the empty prompt that a source lacks.  The prompt is encoded once where
    the source holds a text encoder.  Raises FileNotFoundError for a missing file, and ValueError with the first
    weight that does not fit, for a UNet that is no inpainting UNet, and for files that are damaged or hold more
    than tensors.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"checkpoint must be a file or a folder that exists, got {path}.")
    if (path / "unet").is_dir():
        return _filled(_read_folder(path), base)
    names = tuple(unet_layout(base.config.unet)) if base else ()
    tensors, metadata = (read_component(path, names), {}) if path.is_dir() else read_state_dict(path, names)
    if METADATA in metadata:
        return _filled(_read_ours(tensors, metadata[METADATA], path.name), base)
    if any(key.startswith(UNET) for key in tensors):
        return _filled(_read_published(tensors, path.name), base)
    return _laid_over(tensors, base, path.name)


def write_checkpoint(
    path: str | Path,
    checkpoint: Checkpoint,
    dtype: torch.dtype = torch.float16,
    stock_only: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the ComfyUI single file: LDM names, ``dtype`` weights, our configuration in the metadata.

    ``stock_only`` is what ComfyUI's stock Load Checkpoint wants besides, by its name there (see ``STOCK_ONLY``)."""
    config = checkpoint.config
    tensors = _to_ldm(checkpoint.unet, unet_layout(config.unet), UNET, "the UNet")
    if checkpoint.vae is not None:
        tensors |= _to_ldm(checkpoint.vae, vae_layout(config.vae), VAE, "the autoencoder")
        if config.vae.kind == "tiny":
            tensors |= {VAE + name: torch.tensor(value) for name, value in TINY_CONSTANTS.items()}
    tensors |= stock_only or {}
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in tensors.items()}
    if checkpoint.empty_prompt is not None:  # an input, not a weight: rounded, it would not be a text encoder's
        prompt = checkpoint.empty_prompt.to("cpu", torch.float32)
        tensors[PROMPT] = prompt.tokens.detach().contiguous()
        if prompt.pooled is not None:
            tensors[POOLED] = prompt.pooled.detach().contiguous()
    write_state_dict(Path(path), tensors, config.as_dict(), METADATA)


def _read_ours(tensors: dict[str, Tensor], stored: str, source: str) -> Checkpoint:
    try:
        config = ModelConfig.from_dict(json.loads(stored))
    except (KeyError, TypeError, ValueError) as err:
        raise ValueError(f"{source} must describe its model in its metadata, got {stored[:80]!r}.") from err
    known = (UNET, VAE, *STOCK_ONLY)
    stray = next((key for key in tensors if not key.startswith(known) and key not in (PROMPT, POOLED)), None)
    if stray is not None:
        raise ValueError(f"{source} must hold nothing but its model's weights, got {stray} too.")
    if PROMPT in tensors:
        prompt = Prompt(tensors[PROMPT], tensors.get(POOLED))
    else:
        prompt = _empty_prompt(text_weights(tensors), config)
    unet, vae = _unet(tensors, config.unet, UNET, source), _vae(tensors, config.vae, source)
    return Checkpoint(config, unet, vae, prompt)


def _read_published(tensors: dict[str, Tensor], source: str) -> Checkpoint:
    """A single file of SD1.5-Inpaint, SD2-Inpaint or SDXL-Inpaint, as their authors or ComfyUI wrote it."""
    _require_inpainting(tensors, f"{UNET}input_blocks.0.0.weight", source)
    readers = [key for key in tensors if key.startswith(UNET) and key.endswith("attn2.to_k.weight")]
    width = tensors[readers[0]].shape[-1] if readers else None
    if width not in BY_CONTEXT:
        rule = f"an SD1.5, SD2 or SDXL UNet, which reads a text of width {' or '.join(map(str, BY_CONTEXT))}"
        raise ValueError(f"{source} must hold {rule}, got width {width}.")
    config = BY_CONTEXT[width]
    unet, vae = _unet(tensors, config.unet, UNET, source), _vae(tensors, config.vae, source)
    return Checkpoint(config, unet, vae, _empty_prompt(text_weights(tensors), config))


def _read_folder(folder: Path) -> Checkpoint:
    config = read_config(folder)
    unet = _unet(read_component(folder / "unet"), config.unet, "", f"{folder.name}/unet")
    vae = with_new_attention_names(read_component(folder / "vae"))
    require_fit(vae, {ours: slot.shape for ours, slot in vae_layout(config.vae).items()}, f"{folder.name}/vae")
    return Checkpoint(config, unet, vae, _empty_prompt(read_text_encoders(folder), config))


def _laid_over(tensors: dict[str, Tensor], base: Checkpoint | None, source: str) -> Checkpoint:
    """UNet weights alone, in diffusers' or LDM names: everything else is the base's."""
    if not {"conv_in.weight", "input_blocks.0.0.weight"} & tensors.keys():
        first = next(iter(tensors), "none at all")
        raise ValueError(f"{source} must hold a Stable Diffusion UNet, got weights such as {first}.")
    if base is None:
        raise ValueError(f"{source} holds a UNet only and needs a base checkpoint to be laid over, got none.")
    return replace(base, unet=_unet(tensors, base.config.unet, "", source))


def _filled(found: Checkpoint, base: Checkpoint | None) -> Checkpoint:
    """The checkpoint with what it lacks taken from the base."""
    if base is not None and found.vae is None:
        found = replace(found, vae=base.vae, config=replace(found.config, vae=base.config.vae))
    if base is not None and found.empty_prompt is None:
        found = replace(found, empty_prompt=base.empty_prompt)
    return found


def _unet(tensors: Mapping[str, Tensor], shape: UNetShape, prefix: str, source: str) -> dict[str, Tensor]:
    """The UNet under ``prefix`` in diffusers' names, whichever names it came in."""
    found = {key: value for key, value in tensors.items() if key.startswith(prefix)}
    layout, ldm_first = unet_layout(shape), f"{prefix}input_blocks.0.0.weight"
    if prefix or ldm_first in found:
        _require_inpainting(found, ldm_first, source)
        return _from_ldm(found, layout, prefix, source)
    _require_inpainting(found, "conv_in.weight", source)
    require_fit(found, {ours: slot.shape for ours, slot in layout.items()}, source)
    return found


def _vae(tensors: Mapping[str, Tensor], shape: VAEShape, source: str) -> dict[str, Tensor] | None:
    """A single file's autoencoder; None where it holds none."""
    constants = {VAE + name for name in TINY_CONSTANTS} if shape.kind == "tiny" else set()
    found = {key: value for key, value in tensors.items() if key.startswith(VAE) and key not in constants}
    return _from_ldm(found, vae_layout(shape), VAE, source) if found else None


def _empty_prompt(weights: list[dict[str, Tensor]], config: ModelConfig) -> Prompt | None:
    return encode_empty_prompt(weights, config.unet.context_dim) if weights else None


def _require_prompt(prompt: Prompt, shape: UNetShape) -> None:
    if prompt.tokens.shape[::2] != (1, shape.context_dim):
        raise ValueError(f"empty_prompt must be [1, n, {shape.context_dim}], got {list(prompt.tokens.shape)}.")
    needed = shape.pooled_dim and (1, shape.pooled_dim)
    pooled = None if prompt.pooled is None else tuple(prompt.pooled.shape)
    if pooled != needed:
        raise ValueError(f"empty_prompt must have a pooled vector of shape {needed} for its UNet, got {pooled}.")


def _require_inpainting(tensors: Mapping[str, Tensor], first: str, source: str) -> None:
    if first in tensors and tensors[first].shape[1] != CHANNELS:
        rule = f"an inpainting UNet of {CHANNELS} input channels (noisy 4, mask 1, masked picture 4)"
        raise ValueError(f"{source} must hold {rule}, got one of {tensors[first].shape[1]}.")


def _from_ldm(found: dict[str, Tensor], layout: dict[str, Slot], prefix: str, source: str) -> dict[str, Tensor]:
    require_fit(found, {prefix + slot.ldm: slot.ldm_shape for slot in layout.values()}, source)
    return {ours: found[prefix + slot.ldm].reshape(slot.shape) for ours, slot in layout.items()}


def _to_ldm(weights: dict[str, Tensor], layout: dict[str, Slot], prefix: str, source: str) -> dict[str, Tensor]:
    """The inverse of ``_from_ldm``."""
    require_fit(weights, {ours: slot.shape for ours, slot in layout.items()}, source)
    return {prefix + slot.ldm: weights[ours].reshape(slot.ldm_shape) for ours, slot in layout.items()}
