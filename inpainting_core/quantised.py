"""Weights kept in eight bits: plain ones widened, scaled ones multiplied by their scale, other forms refused."""

import json
from collections.abc import Mapping

import torch
from torch import Tensor

FP8 = {"float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2}

# Beside a layer's weight ComfyUI keeps its scale, one for fast multiplication that we have no use for, and what form
# it has: by the names of before and of after its quantised checkpoints of 2025.
SCALES = ("scale_weight", "weight_scale")
UNUSED = ("scale_input", "input_scale")
FORM, FORMS, MARK = "comfy_quant", "_quantization_metadata", "scaled_fp8"


def widened(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], source: str) -> dict[str, Tensor]:
    """The weights in numbers to reckon with, and nothing of what told their form.

    Plain fp8 becomes fp16, which holds every number of both kinds.  A scaled weight becomes ``weight * scale`` in fp32.
    Raises ValueError for weights in a form that is not known.
    """
    for layer, form in _forms(tensors, metadata, source).items():
        if form not in FP8:
            raise ValueError(f"{source} must hold whole or fp8 weights, got {layer} in {form}; take its fp16 version.")
    for key in tensors:
        layer = key.rpartition(".")[0].removesuffix(".weight")
        known = ("weight", "bias", *SCALES, *UNUSED, FORM)
        if _is_fp8(tensors.get(f"{layer}.weight")) and key.removeprefix(f"{layer}.") not in known:
            raise ValueError(f"{source} must hold fp8 weights with one scale, got {key} too; take its fp16 version.")
    weights = {key: value for key, value in tensors.items() if not _tells_form(key, tensors)}
    return {key: _widened(key, value, tensors, source) for key, value in weights.items()}


def _forms(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], source: str) -> dict[str, str]:
    """Layer -> the form of its weight, where a file says so: in its metadata or, as JSON, beside the weight."""
    beside = {key.removesuffix(f".{FORM}"): value for key, value in tensors.items() if key.endswith(f".{FORM}")}
    try:
        stored = json.loads(metadata.get(FORMS, '{"layers": {}}'))["layers"]
        stored |= {layer: json.loads(bytes(value.tolist())) for layer, value in beside.items()}
        return {layer: str(told["format"]) for layer, told in stored.items()}
    except (KeyError, TypeError, ValueError) as err:
        raise ValueError(f"{source} must say in what form its weights are, got what cannot be read ({err}).") from err


def _is_fp8(weight: Tensor | None) -> bool:
    return weight is not None and weight.dtype in FP8.values()


def _tells_form(key: str, tensors: Mapping[str, Tensor]) -> bool:
    layer, _, name = key.rpartition(".")
    return name == MARK or (name in (*SCALES, *UNUSED, FORM) and f"{layer}.weight" in tensors)


def _widened(key: str, value: Tensor, tensors: Mapping[str, Tensor], source: str) -> Tensor:
    layer, _, name = key.rpartition(".")
    scale = next((tensors[f"{layer}.{s}"] for s in SCALES if f"{layer}.{s}" in tensors), None)
    if name != "weight" or scale is None or not value.is_floating_point():
        return value.half() if _is_fp8(value) else value
    a_row = scale.shape == (len(value), *[1] * (value.ndim - 1))
    if not scale.is_floating_point() or not (scale.numel() == 1 or a_row):
        rule = "one scale for a weight or for each of its rows"
        raise ValueError(f"{source} must hold {rule}, got {list(scale.shape)} of {scale.dtype} for {key}.")
    return value.float() * (scale if a_row else scale.reshape(())).float()
