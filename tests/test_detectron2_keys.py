"""detectron2's names: a transformers model, renamed backwards by this file's own map, comes back bit for bit."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_detector
from torch import Tensor

from yoeo_core.detector import load_detector

BACKWARDS = [  # in the order they apply, on the names that transformers publishes
    ("model.pixel_level_module.encoder.hidden_states_norms.stage1.", "backbone.norm0."),
    ("model.pixel_level_module.encoder.hidden_states_norms.stage2.", "backbone.norm1."),
    ("model.pixel_level_module.encoder.hidden_states_norms.stage3.", "backbone.norm2."),
    ("model.pixel_level_module.encoder.hidden_states_norms.stage4.", "backbone.norm3."),
    ("model.pixel_level_module.encoder.embeddings.patch_embeddings.projection", "backbone.patch_embed.proj"),
    ("model.pixel_level_module.encoder.embeddings.norm", "backbone.patch_embed.norm"),
    ("model.pixel_level_module.encoder.encoder.layers", "backbone.layers"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("attention.output.dense", "attn.proj"),
    ("attention.self.", "attn."),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("model.pixel_level_module.decoder.adapter_1.0", "sem_seg_head.pixel_decoder.adapter_1"),
    ("model.pixel_level_module.decoder.adapter_1.1", "sem_seg_head.pixel_decoder.adapter_1.norm"),
    ("model.pixel_level_module.decoder.layer_1.0", "sem_seg_head.pixel_decoder.layer_1"),
    ("model.pixel_level_module.decoder.layer_1.1", "sem_seg_head.pixel_decoder.layer_1.norm"),
    ("model.pixel_level_module.decoder.input_projections", "sem_seg_head.pixel_decoder.input_proj"),
    ("model.pixel_level_module.decoder.mask_projection", "sem_seg_head.pixel_decoder.mask_features"),
    ("model.pixel_level_module.decoder.level_embed", "sem_seg_head.pixel_decoder.transformer.level_embed"),
    ("model.pixel_level_module.decoder.encoder", "sem_seg_head.pixel_decoder.transformer.encoder"),
    ("model.transformer_module.queries_embedder", "sem_seg_head.predictor.query_embed"),
    ("model.transformer_module.queries_features", "sem_seg_head.predictor.query_feat"),
    ("model.transformer_module.level_embed", "sem_seg_head.predictor.level_embed"),
    ("model.transformer_module.decoder.layernorm", "sem_seg_head.predictor.decoder_norm"),
    ("model.transformer_module.decoder.mask_predictor.mask_embedder.0.0", "sem_seg_head.predictor.mask_embed.layers.0"),
    ("model.transformer_module.decoder.mask_predictor.mask_embedder.1.0", "sem_seg_head.predictor.mask_embed.layers.1"),
    ("model.transformer_module.decoder.mask_predictor.mask_embedder.2.0", "sem_seg_head.predictor.mask_embed.layers.2"),
    ("class_predictor", "sem_seg_head.predictor.class_embed"),
]
IN_THE_ENCODER = {"fc": "linear", "self_attn_layer_norm": "norm1", "final_layer_norm": "norm2"}
IN_THE_DECODER = {
    "self_attn_layer_norm": ("self_attention", "norm"),
    "self_attn": ("self_attention", "self_attn"),
    "cross_attn_layer_norm": ("cross_attention", "norm"),
    "cross_attn": ("cross_attention", "multihead_attn"),
    "final_layer_norm": ("ffn", "norm"),
    "fc1": ("ffn", "linear1"),
    "fc2": ("ffn", "linear2"),
}


def renamed_backwards(key: str) -> str:
    start = "model.transformer_module.decoder.layers."
    if key.startswith(start):
        number, part, rest = key.removeprefix(start).split(".", 2)
        kind, name = IN_THE_DECODER[part]
        return f"sem_seg_head.predictor.transformer_{kind}_layers.{number}.{name}.{rest}"
    for ours, theirs in BACKWARDS:
        key = key.replace(ours, theirs)
    if "transformer.encoder.layers" in key:
        for ours, theirs in IN_THE_ENCODER.items():
            key = key.replace(f".{ours}", f".{theirs}")
    return key


def as_detectron2(network: torch.nn.Module, folder: Path) -> dict[str, Tensor]:
    """The network's weights as detectron2 would hold them, queries, keys and values in one matrix again."""
    network.save_pretrained(folder)
    weights = {renamed_backwards(key): value for key, value in load_file(folder / "model.safetensors").items()}
    weights = {
        key: value for key, value in weights.items() if "encoder.swin" not in key and "encoder.layernorm" not in key
    }
    for key in [key for key in weights if ".attn.query." in key]:
        parts = [weights.pop(key.replace("query", part)) for part in ("query", "key", "value")]
        weights[key.replace("query", "qkv")] = torch.cat(parts)
    for key in [key for key in weights if ".self_attn.q_proj." in key]:
        parts = [weights.pop(key.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
        weights[key.replace("q_proj.", "in_proj_")] = torch.cat(parts)
    tables = [key for key in weights if key.endswith("relative_position_bias_table")]
    made = {key.replace("bias_table", "index"): torch.zeros(16, 16, dtype=torch.long) for key in tables}
    return weights | made | {"pixel_mean": torch.zeros(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}


def full_size(embed: int, depths: list[int], heads: list[int], window: int) -> torch.nn.Module:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    stages = ["stage1", "stage2", "stage3", "stage4"]
    swin = SwinConfig(embed_dim=embed, depths=depths, num_heads=heads, window_size=window, out_features=stages)
    return Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=swin, num_labels=1))


NETWORKS = {
    "tiny": lambda: tiny_detector().network,
    "tiny of three classes": lambda: tiny_detector(classes=3).network,
    "EntitySeg's Swin-T": lambda: full_size(96, [2, 2, 6, 2], [3, 6, 12, 24], 7),
    "EntitySeg's Swin-L": lambda: full_size(192, [2, 2, 18, 2], [6, 12, 24, 48], 7),
    "Swin-L of window 12": lambda: full_size(192, [2, 2, 18, 2], [6, 12, 24, 48], 12),
}
FULL = ("EntitySeg's Swin-T", "EntitySeg's Swin-L", "Swin-L of window 12")


@pytest.mark.parametrize(
    "build", [pytest.param(n, marks=pytest.mark.full if k in FULL else (), id=k) for k, n in NETWORKS.items()]
)
@torch.no_grad()
def test_a_round_trip_gives_identical_outputs(build, tmp_path):
    network = build().eval().requires_grad_(False)  # which lets attention round otherwise
    torch.save({"model": as_detectron2(network, tmp_path)}, tmp_path / "model_final.pth")
    loaded = load_detector(tmp_path / "model_final.pth").network
    pixels = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    ours, theirs = (n(pixel_values=pixels, output_hidden_states=True) for n in (network, loaded))
    for name in ("class_queries_logits", "masks_queries_logits", "pixel_decoder_last_hidden_state"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))


def test_what_a_training_left_in_the_file_is_left_out(tmp_path, caplog):
    """detectron2's Checkpointer keeps the trainer's whole state beside the model."""
    network = tiny_detector().network
    weights = as_detectron2(network, tmp_path) | {"sem_seg_head.predictor.surplus": torch.zeros(1)}
    stored = {"model": weights, "optimizer": {"state": {0: torch.zeros(3)}}, "iteration": 7}
    torch.save(stored | {"trainer": Namespace(cfg=Path("a"))}, tmp_path / "model_final.pth")
    loaded, pixels = load_detector(tmp_path / "model_final.pth").network, torch.randn(1, 3, 64, 64)
    ours, theirs = (n.eval().requires_grad_(False)(pixel_values=pixels) for n in (network, loaded))
    assert torch.equal(ours.masks_queries_logits, theirs.masks_queries_logits)
    assert "model_final.pth: tensors alone were read; left out: argparse.Namespace" in caplog.text
    assert "left out 1 keys that belong to no layer, such as sem_seg_head.predictor.surplus." in caplog.text


@pytest.mark.parametrize(
    "landmark",
    [
        "backbone.patch_embed.proj.weight",
        "backbone.layers.1.blocks.1.attn.qkv.bias",
        "backbone.layers.2.downsample.reduction.weight",
        "backbone.norm3.weight",
        "sem_seg_head.pixel_decoder.input_proj.2.1.bias",
        "sem_seg_head.pixel_decoder.transformer.encoder.layers.0.linear2.weight",
        "sem_seg_head.pixel_decoder.adapter_1.norm.weight",
        "sem_seg_head.predictor.transformer_self_attention_layers.0.self_attn.in_proj_weight",
        "sem_seg_head.predictor.transformer_cross_attention_layers.0.multihead_attn.in_proj_bias",
        "sem_seg_head.predictor.transformer_ffn_layers.0.linear1.weight",
        "sem_seg_head.predictor.query_feat.weight",
    ],
)
def test_this_file_s_map_reaches_detectron2_s_own_names(landmark, tmp_path):
    assert landmark in as_detectron2(tiny_detector().network, tmp_path)


def without(weights: dict, key: str) -> dict:
    return {name: value for name, value in weights.items() if name != key}


BLOCK = "backbone.layers.0.blocks.0"
HORNET = ("backbone.stages.0.0.gnconv.dwconv.weight", "backbone.stages.0.0.gnconv.pws.0.weight")
WRONG = {
    "hornet": (
        lambda w: {k: v for k, v in w.items() if "backbone" not in k} | dict.fromkeys(HORNET, torch.zeros(1)),
        "x.pth must stand on a Swin, got a HorNet, which transformers does not have.",
    ),
    "resnet": (
        lambda w: {"backbone.stem.conv1.weight": torch.zeros(1)} | {k: v for k, v in w.items() if "backbone" not in k},
        "x.pth must stand on a Swin, got backbone.stem.conv1.weight.",
    ),
    "no detector": (
        lambda w: {"conv_in.weight": torch.zeros(1)},
        "x.pth must hold detectron2's Mask2Former (sem_seg_head.predictor.class_embed.weight), "
        "got weights such as conv_in.weight.",
    ),
    "another pixel decoder": (
        lambda w: without(w, "sem_seg_head.pixel_decoder.adapter_1.weight"),
        "x.pth must hold a whole Mask2Former, got one without sem_seg_head.pixel_decoder.adapter_1.weight.",
    ),
    "a missing weight": (
        lambda w: without(w, f"{BLOCK}.mlp.fc1.bias"),
        "x.pth must hold exactly its network's weights, got ",
    ),
    "a weight of another shape": (
        lambda w: w | {f"{BLOCK}.mlp.fc1.bias": torch.zeros(7)},
        "x.pth must hold exactly its network's weights, got ",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_in_one_sentence(change, sentence, tmp_path):
    torch.save({"model": change(as_detectron2(tiny_detector().network, tmp_path))}, tmp_path / "x.pth")
    with pytest.raises(ValueError) as refused:
        load_detector(tmp_path / "x.pth")
    assert sentence in str(refused.value)
