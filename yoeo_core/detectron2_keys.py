"""From detectron2's Mask2Former to transformers': the names of its weights, and its architecture from their shapes.

The EntitySeg authors' files hold weights only.  The names on the right are the ones that transformers publishes its
own checkpoints under; its loader knows what they are called today.  Attention that detectron2 keeps in one matrix is
split in thirds: query, key, value.
"""

import re
from collections.abc import Mapping
from math import isqrt

from torch import Tensor

BACKBONE = "model.pixel_level_module.encoder."
PIXELS = "model.pixel_level_module.decoder."
QUERIES = "model.transformer_module."
LAYER = rf"{QUERIES}decoder.layers.\1."
BLOCK = rf"{BACKBONE}encoder.layers.\1.blocks.\2."

# Beginning of a name in detectron2 -> in transformers; a name that none of them begins stays as it is.
RENAMED = {
    r"backbone\.patch_embed\.proj\.": f"{BACKBONE}embeddings.patch_embeddings.projection.",
    r"backbone\.patch_embed\.norm\.": f"{BACKBONE}embeddings.norm.",
    r"backbone\.layers\.(\d+)\.downsample\.": rf"{BACKBONE}encoder.layers.\1.downsample.",
    r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.norm1\.": f"{BLOCK}layernorm_before.",
    r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.norm2\.": f"{BLOCK}layernorm_after.",
    r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.attn\.proj\.": f"{BLOCK}attention.output.dense.",
    r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.attn\.": f"{BLOCK}attention.self.",
    r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc1\.": f"{BLOCK}intermediate.dense.",
    r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc2\.": f"{BLOCK}output.dense.",
    **{rf"backbone\.norm{i}\.": f"{BACKBONE}hidden_states_norms.stage{i + 1}." for i in range(4)},
    r"sem_seg_head\.pixel_decoder\.(adapter|layer)_1\.norm\.": rf"{PIXELS}\1_1.1.",
    r"sem_seg_head\.pixel_decoder\.(adapter|layer)_1\.": rf"{PIXELS}\1_1.0.",
    r"sem_seg_head\.pixel_decoder\.input_proj\.": f"{PIXELS}input_projections.",
    r"sem_seg_head\.pixel_decoder\.mask_features\.": f"{PIXELS}mask_projection.",
    r"sem_seg_head\.pixel_decoder\.transformer\.level_embed": f"{PIXELS}level_embed",
    r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)\.linear(\d)\.": (
        rf"{PIXELS}encoder.layers.\1.fc\2."
    ),
    r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)\.norm1\.": (
        rf"{PIXELS}encoder.layers.\1.self_attn_layer_norm."
    ),
    r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)\.norm2\.": (
        rf"{PIXELS}encoder.layers.\1.final_layer_norm."
    ),
    r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.": f"{PIXELS}encoder.",
    r"sem_seg_head\.predictor\.transformer_self_attention_layers\.(\d+)\.norm\.": f"{LAYER}self_attn_layer_norm.",
    r"sem_seg_head\.predictor\.transformer_self_attention_layers\.(\d+)\.self_attn\.": f"{LAYER}self_attn.",
    r"sem_seg_head\.predictor\.transformer_cross_attention_layers\.(\d+)\.norm\.": f"{LAYER}cross_attn_layer_norm.",
    r"sem_seg_head\.predictor\.transformer_cross_attention_layers\.(\d+)\.multihead_attn\.": f"{LAYER}cross_attn.",
    r"sem_seg_head\.predictor\.transformer_ffn_layers\.(\d+)\.norm\.": f"{LAYER}final_layer_norm.",
    r"sem_seg_head\.predictor\.transformer_ffn_layers\.(\d+)\.linear(\d)\.": rf"{LAYER}fc\2.",
    r"sem_seg_head\.predictor\.decoder_norm\.": f"{QUERIES}decoder.layernorm.",
    r"sem_seg_head\.predictor\.mask_embed\.layers\.(\d+)\.": rf"{QUERIES}decoder.mask_predictor.mask_embedder.\1.0.",
    r"sem_seg_head\.predictor\.query_embed\.": f"{QUERIES}queries_embedder.",
    r"sem_seg_head\.predictor\.query_feat\.": f"{QUERIES}queries_features.",
    r"sem_seg_head\.predictor\.level_embed\.": f"{QUERIES}level_embed.",
    r"sem_seg_head\.predictor\.class_embed\.": "class_predictor.",
}

# End of a name -> the ends of its thirds.
SPLIT = {
    r"attention\.self\.qkv\.(\w+)$": [rf"attention.self.{part}.\1" for part in ("query", "key", "value")],
    r"\.self_attn\.in_proj_(\w+)$": [rf".self_attn.{part}_proj.\1" for part in "qkv"],
}

LANDMARK = "sem_seg_head.predictor.class_embed.weight"
STATISTICS = ("pixel_mean", "pixel_std")  # ImageNet's, which ``Preprocessing`` holds
LEVELS_AND_POINTS = 3 * 4  # that deformable attention looks at


def published_names(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """detectron2's weights under the names that transformers publishes.

    Raises ValueError for attention that is not in thirds.
    """
    published = {}
    for key, value in tensors.items():
        thirds = any(re.search(pattern, _renamed(key)) for pattern in SPLIT)
        if thirds and (not value.ndim or len(value) % 3):
            rule = f"{source} must hold queries, keys and values in thirds of {key}"
            raise ValueError(f"{rule}, got the shape {tuple(value.shape)}.")
        if key not in STATISTICS:
            published |= dict(_parts(_renamed(key), value))
    return published


def architecture_of(tensors: Mapping[str, Tensor], source: str) -> dict:
    """The configuration that transformers builds the same network from.

    Raises ValueError for weights that are no Mask2Former in detectron2's names, or whose backbone is not a Swin.
    """
    if LANDMARK not in tensors:
        first = next(iter(tensors), "none at all")
        raise ValueError(f"{source} must hold detectron2's Mask2Former ({LANDMARK}), got weights such as {first}.")
    if any(".gnconv." in key for key in tensors):
        raise ValueError(f"{source} must stand on a Swin, got a HorNet, which transformers does not have.")
    if "backbone.patch_embed.proj.weight" not in tensors:
        first = next((key for key in tensors if key.startswith("backbone.")), "no backbone")
        raise ValueError(f"{source} must stand on a Swin, got {first}.")
    try:
        return _architecture(tensors)
    except KeyError as err:
        raise ValueError(f"{source} must hold a whole Mask2Former, got one without {err.args[0]}.") from err
    except (IndexError, TypeError, ValueError) as err:
        raise ValueError(f"{source} must hold a Mask2Former's weights, got some of other shapes.") from err


def _architecture(tensors: Mapping[str, Tensor]) -> dict:
    pixels, predictor = "sem_seg_head.pixel_decoder", "sem_seg_head.predictor"
    encoder, ffn = f"{pixels}.transformer.encoder.layers", f"{predictor}.transformer_ffn_layers"
    queries, width = tensors[f"{predictor}.query_feat.weight"].shape
    return {
        "backbone_config": _swin(tensors),
        "num_labels": len(tensors[LANDMARK]) - 1,
        "num_queries": queries,
        "hidden_dim": width,
        "feature_size": len(tensors[f"{pixels}.adapter_1.weight"]),
        "mask_feature_size": len(tensors[f"{pixels}.mask_features.weight"]),
        "encoder_layers": _count(tensors, encoder),
        "encoder_feedforward_dim": len(tensors[f"{encoder}.0.linear1.weight"]),
        "decoder_layers": _count(tensors, ffn) + 1,  # transformers counts the prediction before the first one too
        "dim_feedforward": len(tensors[f"{ffn}.0.linear1.weight"]),
        "num_attention_heads": len(tensors[f"{encoder}.0.self_attn.attention_weights.weight"]) // LEVELS_AND_POINTS,
    }


def _swin(tensors: Mapping[str, Tensor]) -> dict:
    stages = range(_count(tensors, "backbone.layers"))
    tables = [tensors[f"backbone.layers.{i}.blocks.0.attn.relative_position_bias_table"] for i in stages]
    return {
        "model_type": "swin",
        "embed_dim": len(tensors["backbone.patch_embed.proj.weight"]),
        "depths": [_count(tensors, f"backbone.layers.{i}.blocks") for i in stages],
        "num_heads": [table.shape[1] for table in tables],
        "window_size": (isqrt(len(tables[0])) + 1) // 2,  # a table row for each of (2 window - 1)^2 offsets
        "out_features": [f"stage{i + 1}" for i in stages],
    }


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many layers are numbered after this prefix."""
    return len({key.removeprefix(f"{prefix}.").split(".")[0] for key in tensors if key.startswith(f"{prefix}.")})


def _renamed(key: str) -> str:
    found = ((pattern, name) for pattern, name in RENAMED.items() if re.match(pattern, key))
    pattern, name = next(found, ("", ""))
    return re.sub(pattern, name, key, count=1)


def _parts(key: str, value: Tensor) -> list[tuple[str, Tensor]]:
    for pattern, names in SPLIT.items():
        if re.search(pattern, key):
            return [(re.sub(pattern, name, key), part) for name, part in zip(names, value.chunk(3), strict=True)]
    return [(key, value)]
