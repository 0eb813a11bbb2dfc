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

from inpainting_core.architecture import SD2_INPAINT, SD15_INPAINT, SDXL_INPAINT, ModelConfig, UNetShape
from inpainting_core.bounds import why
from inpainting_core.diffusers_folder import read_config, read_text_encoders, with_new_attention_names
from inpainting_core.empty_prompt import SINGLE_FILE, Prompt, encode_empty_prompt, text_weights
from inpainting_core.ldm_keys import unet_layout, vae_layout
from inpainting_core.single_file import (
    UNET,
    names_of,
    unet_from,
    unet_into,
    vae_from,
    vae_into,
    with_average_as_unet,
)
from inpainting_core.state_dicts import fitting, require_nothing_else, tell_left_out, write_state_dict
from inpainting_core.weight_files import read_weights

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}  # of a file's weights
CHANNELS = 9  # noisy latent 4, mask 1, masked picture's latent 4
METADATA = "erase_once"
PROMPT, POOLED = "erase_once.empty_prompt", "erase_once.empty_pooled"

# What a file of ours may hold for ComfyUI's stock Load Checkpoint: text encoders, and SDXL's mark of v-prediction.
V_PREDICTION = "v_pred"
STOCK_ONLY = ("cond_stage_model.", "conditioner.embedders.", V_PREDICTION)

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
            _require_prompt(self.empty_prompt.tokens, self.empty_prompt.pooled, self.config.unet)


def read_checkpoint(path: str | Path, base: Checkpoint | None = None) -> Checkpoint:
    """Read a single file, a diffusers folder, or UNet weights that are laid over ``base``.

    ``base`` also gives the autoencoder and the empty prompt that a source lacks.  The prompt is encoded once where
    the source holds a text encoder.  What belongs to no layer is left out of files of others, which is logged, and
    refused in files of ours.  Raises FileNotFoundError for a missing file, and ValueError with the first weight that
    does not fit, for a UNet that is no inpainting UNet, and for files that are damaged or in a form that is not read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"checkpoint must be a file or a folder that exists, got {path}.")
    if any((path / part).exists() for part in ("unet", "vae", "model_index.json")):
        return _filled(_read_folder(path), base)
    names = tuple(unet_layout(base.config.unet)) if base else ()
    tensors, metadata = read_weights(path, names)
    if METADATA in metadata:
        return _filled(_read_ours(tensors, metadata[METADATA], path.name), base)
    tensors = with_average_as_unet(tensors, [config.unet for config in BY_CONTEXT.values()])
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
    tensors = unet_into(checkpoint.unet, config.unet)
    if checkpoint.vae is not None:
        tensors |= vae_into(checkpoint.vae, config.vae)
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
    except (KeyError, TypeError, ValueError, RecursionError) as err:
        raise ValueError(
            f"{source} must describe its model in its metadata, got {stored[:80]!r} ({why(err)})."
        ) from err
    known = names_of(config) | {PROMPT, POOLED}
    require_nothing_else([key for key in tensors if key not in known and not key.startswith(STOCK_ONLY)], source)
    if PROMPT in tensors:
        prompt = _stored_prompt(tensors[PROMPT], tensors.get(POOLED), config.unet, source)
    else:
        prompt = _empty_prompt(text_weights(tensors), config)
    unet, vae = _unet(tensors, config.unet, UNET, source), vae_from(tensors, config.vae, source)
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
    if V_PREDICTION in tensors:
        config = replace(config, prediction="v_prediction")
    unet, vae = _unet(tensors, config.unet, UNET, source), vae_from(tensors, config.vae, source)
    known = names_of(config) | {V_PREDICTION}
    tell_left_out([key for key in tensors if key not in known and not key.startswith(SINGLE_FILE)], source)
    return Checkpoint(config, unet, vae, _empty_prompt(text_weights(tensors), config))


def _read_folder(folder: Path) -> Checkpoint:
    if not (folder / "unet").is_dir():
        found = ", ".join(sorted(part.name for part in folder.iterdir()))
        raise FileNotFoundError(f"{folder.name} must hold a folder unet, got {found}: download that one too.")
    config, source = read_config(folder), f"{folder.name}/vae"
    unet, vae = _unet(read_weights(folder / "unet")[0], config.unet, "", f"{folder.name}/unet"), None
    if (folder / "vae").is_dir():
        found = with_new_attention_names(read_weights(folder / "vae")[0])
        vae = fitting(found, {ours: slot.shape for ours, slot in vae_layout(config.vae).items()}, source)
        tell_left_out(found.keys() - vae.keys(), source)
    return Checkpoint(config, unet, vae, _empty_prompt(read_text_encoders(folder), config))


def _laid_over(tensors: dict[str, Tensor], base: Checkpoint | None, source: str) -> Checkpoint:
    """UNet weights alone, in diffusers' or LDM names: everything else is the base's."""
    for key in (key for key in tensors if "lora_" in key.lower()):
        rule = f"{source} must hold a whole UNet, got a LoRA's part of one, such as {key}"
        raise ValueError(f"{rule}; load its base here and lay the LoRA over that with ComfyUI's Load LoRA.")
    if not {"conv_in.weight", "input_blocks.0.0.weight"} & tensors.keys():
        got = f"got weights such as {next(iter(tensors), 'none at all')}; take a whole inpainting checkpoint"
        raise ValueError(f"{source} must hold a Stable Diffusion UNet, {got}.")
    if base is None:
        got = "got none; lay it over any whole checkpoint of its kind"
        raise ValueError(f"{source} holds a UNet only and needs a base checkpoint to be laid over, {got}.")
    return replace(base, unet=_unet(tensors, base.config.unet, "", source))


def _filled(found: Checkpoint, base: Checkpoint | None) -> Checkpoint:
    """The checkpoint with what it lacks taken from the base."""
    if base is not None and found.vae is None:
        found = replace(found, vae=base.vae, config=replace(found.config, vae=base.config.vae))
    if base is not None and found.empty_prompt is None:
        found = replace(found, empty_prompt=base.empty_prompt)
    return found


def _unet(tensors: Mapping[str, Tensor], shape: UNetShape, prefix: str, source: str) -> dict[str, Tensor]:
    """The UNet under ``prefix`` in diffusers' names, whichever it came in; a file of its own may have strays."""
    layout, ldm_first = unet_layout(shape), f"{prefix}input_blocks.0.0.weight"
    in_ldm = bool(prefix) or ldm_first in tensors
    _require_inpainting(tensors, ldm_first if in_ldm else "conv_in.weight", source)
    if in_ldm:
        unet, known = unet_from(tensors, shape, prefix, source), {slot.ldm for slot in layout.values()}
    else:
        unet, known = fitting(tensors, {ours: slot.shape for ours, slot in layout.items()}, source), layout.keys()
    if not prefix:
        tell_left_out([key for key in tensors if key not in known], source)
    return unet


def _empty_prompt(weights: list[dict[str, Tensor]], config: ModelConfig) -> Prompt | None:
    return encode_empty_prompt(weights, config.unet.context_dim) if weights else None


def _stored_prompt(tokens: Tensor, pooled: Tensor | None, shape: UNetShape, source: str) -> Prompt:
    try:
        _require_prompt(tokens, pooled, shape)
    except ValueError as err:
        raise ValueError(f"{source} must hold the empty prompt of its model: {err}") from err
    return Prompt(tokens, pooled)


def _require_prompt(tokens: Tensor, pooled: Tensor | None, shape: UNetShape) -> None:
    fits = tokens.ndim == 3 and tokens.shape[::2] == (1, shape.context_dim) and tokens.shape[1] > 0
    if not fits or not tokens.is_floating_point():
        got = f"{list(tokens.shape)} of {tokens.dtype}"
        raise ValueError(f"empty_prompt must be [1, n, {shape.context_dim}], floating point, got {got}.")
    needed = shape.pooled_dim and (1, shape.pooled_dim)
    given = None if pooled is None else tuple(pooled.shape)
    if given != needed:
        raise ValueError(f"empty_prompt must have a pooled vector of shape {needed} for its UNet, got {given}.")


def _require_inpainting(tensors: Mapping[str, Tensor], first: str, source: str) -> None:
    if first in tensors and tensors[first].shape[1] != CHANNELS:
        rule = f"an inpainting UNet of {CHANNELS} input channels (noisy 4, mask 1, masked picture 4)"
        raise ValueError(f"{source} must hold {rule}, got one of {tensors[first].shape[1]}.")
