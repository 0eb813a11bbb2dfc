"""The embedding of the prompt "": read once out of a text encoder, so that nothing here has to run one again.

Both Stable Diffusions use a CLIP text transformer (Radford et al. 2021); a page of torch runs it, whether its
weights carry transformers' or OpenCLIP's names.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from eradiff_core.inpainting.shapes import Float

START, END, LENGTH = 49406, 49407, 77
HEAD_DIM = 64

# Where a single file keeps its text encoder: SD1.5's in transformers' names, SD2's in OpenCLIP's.
SINGLE_FILE = ("cond_stage_model.transformer.", "cond_stage_model.model.")

OPENCLIP = (
    ("transformer.resblocks.", "encoder.layers."),
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
    (".attn.out_proj.", ".self_attn.out_proj."),
    ("ln_final.", "final_layer_norm."),
    ("token_embedding.weight", "embeddings.token_embedding.weight"),
    ("positional_embedding", "embeddings.position_embedding.weight"),
)


@dataclass(frozen=True)
class TextEncoder:
    """A CLIP text transformer: the layers that are run, the token that pads, the activation."""

    layers: int
    pad: int
    activation: str


# By width.  SD2 leaves out the last of its encoder's 24 layers.
ENCODERS = {768: TextEncoder(12, END, "quick_gelu"), 1024: TextEncoder(23, 0, "gelu")}


class _Weights(dict):
    """Tensors by name, whose absence is told in a sentence."""

    def __missing__(self, key: str) -> Tensor:
        raise ValueError(f"the text encoder must hold {key}, but has no such key.")


def text_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The text encoder's part of a single file, without its prefix; empty where there is none."""
    for prefix in SINGLE_FILE:
        found = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        if found:
            return found
    return {}


@torch.no_grad()
def encode_empty_prompt(weights: Mapping[str, Tensor], width: int) -> Float[Tensor, "1 77 c"]:
    """The text encoder's last hidden state for "", in fp32.

    ``weights`` come in transformers' names (with or without ``text_model.``) or in OpenCLIP's; ``width`` is the
    context width of the UNet that will read it.  Raises ValueError for an unknown width or a missing weight.
    """
    if width not in ENCODERS:
        raise ValueError(f"the text encoder's width must be one of {tuple(ENCODERS)}, got {width}.")
    encoder, weights = ENCODERS[width], _Weights(_in_clip_names(weights))
    tokens = torch.tensor([START, END] + [encoder.pad] * (LENGTH - 2))
    x = weights["embeddings.token_embedding.weight"][tokens] + weights["embeddings.position_embedding.weight"]
    x = x.float()[None]
    for number in range(encoder.layers):
        layer = f"encoder.layers.{number}"
        x = x + _attention(_norm(x, weights, f"{layer}.layer_norm1"), weights, f"{layer}.self_attn")
        inner = _linear(_norm(x, weights, f"{layer}.layer_norm2"), weights, f"{layer}.mlp.fc1")
        inner = F.gelu(inner) if encoder.activation == "gelu" else inner * torch.sigmoid(1.702 * inner)
        x = x + _linear(inner, weights, f"{layer}.mlp.fc2")
    return _norm(x, weights, "final_layer_norm")


def _attention(x: Tensor, weights: _Weights, name: str) -> Tensor:
    qkv = (_linear(x, weights, f"{name}.{part}_proj") for part in "qkv")
    q, k, v = (part.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2) for part in qkv)
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return _linear(out.transpose(1, 2).flatten(2), weights, f"{name}.out_proj")


def _linear(x: Tensor, weights: _Weights, name: str) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"].float(), weights[f"{name}.bias"].float())


def _norm(x: Tensor, weights: _Weights, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"].float(), weights[f"{name}.bias"].float())


def _in_clip_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if "token_embedding.weight" not in weights:
        return {key.removeprefix("text_model."): value for key, value in weights.items()}
    named = {}
    for key, value in weights.items():
        for theirs, ours in OPENCLIP:
            key = key.replace(theirs, ours)
        if ".attn.in_proj_" in key:
            layer, kind = key.split(".attn.in_proj_")
            named |= {f"{layer}.self_attn.{part}_proj.{kind}": w for part, w in zip("qkv", value.chunk(3), strict=True)}
        else:
            named[key] = value
    return named
