"""Text encoders on their way into a single file: read from wherever they lie, checked, under the names used there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from inpainting_core.diffusers_folder import read_text_encoders
from inpainting_core.empty_prompt import OPENCLIP, in_clip_names, text_weights
from inpainting_core.state_dicts import fitting, require_nothing_else, tell_left_out
from inpainting_core.weight_files import read_weights

VOCABULARY, LENGTH = 49408, 77
PROJECTION = "text_projection.weight"
UNREAD = ("embeddings.position_ids", "logit_scale")  # which every published one has

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class StockText:
    """Where a single file keeps a text encoder, whether by OpenCLIP's names, and how large it is."""

    prefix: str
    openclip: bool
    width: int
    layers: tuple[int, ...]
    projected: bool = False


# By the width of the text that a UNet reads.  SD2 runs all but its encoder's last layer, and diffusers' folders leave
# that one out.
STOCK_TEXTS = {
    768: (StockText("cond_stage_model.transformer.text_model.", False, 768, (12,)),),
    1024: (StockText("cond_stage_model.model.", True, 1024, (24, 23)),),
    2048: (
        StockText("conditioner.embedders.0.transformer.text_model.", False, 768, (12,)),
        StockText("conditioner.embedders.1.model.", True, 1280, (32,), projected=True),
    ),
}


def texts_in(source: Path, ordered_names: tuple[str, ...]) -> list[dict[str, Tensor]]:
    """A checkpoint's text encoders, without their prefixes; none where a file or a diffusers folder holds none.

    ``ordered_names`` as in ``read_weights``.
    """
    if source.is_dir():
        return read_text_encoders(source)
    return text_weights(read_weights(source, ordered_names)[0])


def read_texts(path: Path) -> list[dict[str, Tensor]]:
    """Text encoders from a checkpoint or a diffusers folder, or one from a file or folder of its own."""
    if path.is_dir() and (found := read_text_encoders(path)):
        return found
    tensors, _ = read_weights(path)
    return text_weights(tensors) or [tensors]


def for_stock(encoders: Sequence[Weights], width: int, source: str) -> dict[str, Tensor]:
    """A family's text encoders as a single file names them, from transformers' or OpenCLIP's names.

    Raises ValueError for another number of them, and with the first weight that is missing, misshapen or of one
    layer too many for a UNet that reads a text of this width.
    """
    texts = STOCK_TEXTS[width]
    if len(encoders) != len(texts):
        raise ValueError(f"{source} must hold {len(texts)} text encoder(s) for this model, got {len(encoders)}.")
    named = {}
    for weights, text in zip(encoders, texts, strict=True):
        named |= _for_stock(weights, text, source)
    return named


def _for_stock(weights: Weights, text: StockText, source: str) -> dict[str, Tensor]:
    named, unread = in_clip_names(weights), (*UNREAD, PROJECTION)
    layers = next((n for n in text.layers if f"encoder.layers.{n - 1}.mlp.fc2.bias" in named), text.layers[0])
    projection = {PROJECTION: (text.width, text.width)} if text.projected else {}
    shapes = clip_shapes(text.width, layers) | projection
    # What a text encoder has besides its layers is left out, but one with more of them would be another network.
    require_nothing_else([key for key in named if key not in shapes and key.startswith("encoder.layers.")], source)
    tell_left_out([key for key in named if key not in shapes and key not in unread], source)
    named = fitting(named, shapes, source)
    return {text.prefix + key: value for key, value in (in_openclip_names(named) if text.openclip else named).items()}


def clip_shapes(width: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every weight of a CLIP text transformer that makes its last hidden state."""
    block = {f"self_attn.{part}_proj": (width, width) for part in ("q", "k", "v", "out")}
    block |= {"layer_norm1": (width,), "layer_norm2": (width,)}
    block |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    parts = {f"encoder.layers.{n}.{name}": shape for n in range(layers) for name, shape in block.items()}
    parts["final_layer_norm"] = (width,)
    biases = {f"{name}.bias": shape[:1] for name, shape in parts.items()}
    embeddings = {"token_embedding": (VOCABULARY, width), "position_embedding": (LENGTH, width)}
    parts |= {f"embeddings.{name}": shape for name, shape in embeddings.items()}
    return {f"{name}.weight": shape for name, shape in parts.items()} | biases


def in_openclip_names(weights: Weights) -> dict[str, Tensor]:
    """The inverse of ``in_clip_names``: OpenCLIP keeps a layer's query, key and value as one weight."""
    named = {}
    for key, value in weights.items():
        layer, _, kind = key.partition(".self_attn.q_proj.")
        if kind:
            key = f"{layer}.attn.in_proj_{kind}"
            value = torch.cat([weights[f"{layer}.self_attn.{part}_proj.{kind}"] for part in "qkv"])
        elif ".self_attn.k_proj." in key or ".self_attn.v_proj." in key:
            continue
        elif key == PROJECTION:
            key, value = "text_projection", value.T
        for theirs, ours in OPENCLIP:
            key = key.replace(ours, theirs)
        named[key] = value
    return named
