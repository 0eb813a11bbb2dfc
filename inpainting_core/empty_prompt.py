"""The embedding of the prompt "": read once out of a text encoder, so that nothing here has to run one again.

Every Stable Diffusion uses a CLIP text transformer (Radford et al. 2021), SDXL two side by side; a page of torch runs
them, whether their weights carry transformers' or OpenCLIP's names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.shapes import Float

START, END, LENGTH = 49406, 49407, 77
HEAD_DIM = 64

# Where a single file keeps its text encoders: SD1.5's in transformers' names, SD2's in OpenCLIP's, SDXL's in both.
SINGLE_FILE = (
    "cond_stage_model.transformer.",
    "cond_stage_model.model.",
    "conditioner.embedders.0.transformer.",
    "conditioner.embedders.1.model.",
)

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


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a UNet is told: tokens to attend to and, for SDXL, the whole text as one vector beside the timestep."""

    tokens: Float[Tensor, "1 n c"]
    pooled: Float[Tensor, "1 p"] | None = None

    def to(self, *place: torch.device | torch.dtype | str) -> "Prompt":
        """The prompt on a device and in a dtype, as ``Tensor.to`` takes them."""
        return Prompt(self.tokens.to(*place), None if self.pooled is None else self.pooled.to(*place))


@dataclass(frozen=True)
class TextEncoder:
    """A CLIP text transformer: the layers before its tokens are read, the token that pads, the activation.

    ``normed`` tokens go through the final norm.  One that is ``pooled`` also gives the token at the text's end, one
    layer further and projected.
    """

    layers: int
    pad: int
    activation: str
    normed: bool = True
    pooled: bool = False


# By the width that a UNet reads.  SD2 leaves out the last of its encoder's 24 layers, SDXL that of both of its own
# (CLIP-L and OpenCLIP bigG).
ENCODERS = {
    768: (TextEncoder(12, END, "quick_gelu"),),
    1024: (TextEncoder(23, 0, "gelu"),),
    2048: (TextEncoder(11, END, "quick_gelu", normed=False), TextEncoder(31, 0, "gelu", normed=False, pooled=True)),
}


class _Weights(dict):
    """Tensors by name, whose absence is told in a sentence."""

    def __missing__(self, key: str) -> Tensor:
        raise ValueError(f"the text encoder must hold {key}, but has no such key.")


def text_weights(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Each text encoder's part of a single file, without its prefix; empty where there is none."""
    parts = (
        {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        for prefix in SINGLE_FILE
    )
    return [part for part in parts if part]


@torch.no_grad()
def encode_empty_prompt(weights: Sequence[Mapping[str, Tensor]], width: int) -> Prompt:
    """What a family's text encoders, side by side, say to "", in fp32.

    SDXL's "" is encoded too, as ComfyUI's CLIP Text Encode does it: the zeros that diffusers has stand for no
    negative prompt at all.  ``weights`` of each encoder come in transformers' names (with or without ``text_model.``)
    or in OpenCLIP's; ``width`` is the context width of the UNet that will read it.
    Raises ValueError for an unknown width, another number of encoders or a missing weight.
    """
    if width not in ENCODERS:
        raise ValueError(f"the text encoder's width must be one of {tuple(ENCODERS)}, got {width}.")
    encoders = ENCODERS[width]
    if len(weights) != len(encoders):
        raise ValueError(f"text encoders for a width of {width} must be {len(encoders)}, got {len(weights)}.")
    prompts = [_encode(e, _Weights(in_clip_names(w))) for e, w in zip(encoders, weights, strict=True)]
    return Prompt(torch.cat([prompt.tokens for prompt in prompts], dim=-1), prompts[-1].pooled)


def _encode(encoder: TextEncoder, weights: _Weights) -> Prompt:
    tokens = torch.tensor([START, END] + [encoder.pad] * (LENGTH - 2))
    words = weights["embeddings.token_embedding.weight"][tokens].float()
    x = (words + weights["embeddings.position_embedding.weight"].float())[None]
    for number in range(encoder.layers):
        x = _layer(x, weights, f"encoder.layers.{number}", encoder.activation)
    read = _norm(x, weights, "final_layer_norm") if encoder.normed else x
    if not encoder.pooled:
        return Prompt(read)
    x = _layer(x, weights, f"encoder.layers.{encoder.layers}", encoder.activation)
    end = _norm(x[:, tokens.tolist().index(END)], weights, "final_layer_norm")
    return Prompt(read, F.linear(end, weights["text_projection.weight"].float()))


def _layer(x: Tensor, weights: _Weights, name: str, activation: str) -> Tensor:
    x = x + _attention(_norm(x, weights, f"{name}.layer_norm1"), weights, f"{name}.self_attn")
    inner = _linear(_norm(x, weights, f"{name}.layer_norm2"), weights, f"{name}.mlp.fc1")
    inner = F.gelu(inner) if activation == "gelu" else inner * torch.sigmoid(1.702 * inner)
    return x + _linear(inner, weights, f"{name}.mlp.fc2")


def _attention(x: Tensor, weights: _Weights, name: str) -> Tensor:
    qkv = (_linear(x, weights, f"{name}.{part}_proj") for part in "qkv")
    q, k, v = (part.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2) for part in qkv)
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return _linear(out.transpose(1, 2).flatten(2), weights, f"{name}.out_proj")


def _linear(x: Tensor, weights: _Weights, name: str) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"].float(), weights[f"{name}.bias"].float())


def _norm(x: Tensor, weights: _Weights, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"].float(), weights[f"{name}.bias"].float())


def in_clip_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A text encoder's weights by transformers' names without ``text_model.``, whichever of the two it came in."""
    if "token_embedding.weight" not in weights:
        return {key.removeprefix("text_model."): value for key, value in weights.items()}
    named = {}
    for key, value in weights.items():
        for theirs, ours in OPENCLIP:
            key = key.replace(theirs, ours)
        if ".attn.in_proj_" in key:
            layer, kind = key.split(".attn.in_proj_")
            named |= {f"{layer}.self_attn.{part}_proj.{kind}": w for part, w in zip("qkv", value.chunk(3), strict=True)}
        elif key == "text_projection":
            named["text_projection.weight"] = value.T
        else:
            named[key] = value
    return named
