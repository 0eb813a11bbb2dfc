"""LoRA (Hu et al. 2021): what a small card trains instead of the UNet, and the file that ComfyUI's Load LoRA opens.

A file names each layer by diffusers' name with underscores, kohya's custom: ``lora_unet_<layer>.lora_down.weight``
``[rank, in]``, ``.lora_up.weight`` ``[out, rank]`` and ``.alpha``.  It stands for ``W + alpha / rank * up @ down``.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from inpainting_core.architecture import ModelConfig
from inpainting_core.checkpoint import METADATA
from inpainting_core.state_dicts import read_state_dict, write_state_dict

PREFIX, DOWN, UP, ALPHA = "lora_unet_", ".lora_down.weight", ".lora_up.weight", ".alpha"
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]  # of every attention, to itself and to the prompt
ADAPTER = "default"  # peft's name for the only one


def add_lora(unet: UNet2DConditionModel, rank: int, alpha: float | None = None) -> list[nn.Parameter]:
    """Put a LoRA that does nothing yet on the attention of a UNet and freeze the rest; what is to be trained.

    ``alpha`` is the rank where it is left out.  The weights are drawn from torch's global generator, kept in fp32.
    Raises ValueError for a rank below 1.
    """
    if rank < 1:
        raise ValueError(f"a LoRA's rank must be at least 1, got {rank}.")
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank if alpha is None else alpha, target_modules=TARGETS), ADAPTER)
    trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.float()
    return trained


def lora_weights(unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """The LoRA of a UNet that ``add_lora`` was given, by the names of a file."""
    named = {}
    for key, value in get_peft_model_state_dict(unet, adapter_name=ADAPTER).items():
        layer, part = key.rsplit(".lora_", 1)
        named[_in_file(layer) + {"A.weight": DOWN, "B.weight": UP}[part]] = value.detach()
        named[_in_file(layer) + ALPHA] = torch.tensor(float(unet.peft_config[ADAPTER].lora_alpha))
    return named


def base_weights(unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """The weights under the LoRA, by the names they had before ``add_lora``."""
    weights = unet.state_dict()
    return {key.replace(".base_layer.", "."): value for key, value in weights.items() if ".lora_" not in key}


def write_lora(
    path: str | Path, weights: Mapping[str, Tensor], config: ModelConfig, dtype: torch.dtype = torch.float16
) -> None:
    """Write what ``lora_weights`` gave, with the configuration of the model it belongs to in the metadata."""
    tensors = {key: value.to("cpu", dtype).contiguous() for key, value in weights.items()}
    write_state_dict(Path(path), tensors, config.as_dict(), METADATA)


def read_lora(path: str | Path) -> dict[str, Tensor]:
    """The inverse of ``write_lora``.

    Raises FileNotFoundError, or ValueError for a file that holds anything but a UNet's LoRA, or half of one.
    """
    weights, _ = read_state_dict(Path(path))
    layers = [key.removesuffix(UP) for key in weights if key.startswith(PREFIX) and key.endswith(UP)]
    parts = [layer + part for layer in layers for part in (DOWN, UP, ALPHA)] or [f"{PREFIX}...{UP}"]
    odd = [f"no {key}" for key in parts if key not in weights] + [key for key in weights if key not in parts]
    if odd:
        rule = f"{PREFIX}LAYER{DOWN}, {UP} and {ALPHA} of each layer and nothing else"
        raise ValueError(f"{Path(path).name} must hold {rule}, got {odd[0]}.")
    return weights


def merge_lora(unet: Mapping[str, Tensor], lora: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A UNet's weights (diffusers' names) with the LoRA folded in, ``W + alpha / rank * up @ down``.

    Raises ValueError for a LoRA that was made for another UNet.
    """
    merged, left = dict(unet), dict(lora)
    for key, weight in unet.items():
        layer = _in_file(key.removesuffix(".weight"))
        if layer + UP in left:
            merged[key] = _with_lora(weight, *(left.pop(layer + part) for part in (DOWN, UP, ALPHA)), layer)
    if left:
        raise ValueError(f"a LoRA must have been made for its UNet, got one for {next(iter(left))}, which it lacks.")
    return merged


def _with_lora(weight: Tensor, down: Tensor, up: Tensor, alpha: Tensor, layer: str) -> Tensor:
    if (len(up), down.shape[1], len(down)) != (len(weight), weight.shape[1], up.shape[1]):
        shapes = f"{list(up.shape)} @ {list(down.shape)} for {list(weight.shape)}"
        raise ValueError(f"a LoRA must fit its UNet's weights, got {shapes} at {layer}.")
    return (weight.float() + float(alpha) / len(down) * up.float() @ down.float()).to(weight)


def _in_file(layer: str) -> str:
    return PREFIX + layer.replace(".", "_")
