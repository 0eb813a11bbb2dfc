"""Tiny random transformers of ComfyUI's own classes, as MODELs: one of each family whose order of tokens is known."""

from dataclasses import fields

import torch
from in_comfyui import comfy

FLUX = {"image_model": "flux", "in_channels": 16, "out_channels": 16, "patch_size": 2, "vec_in_dim": 16}
FLUX |= {"context_in_dim": 24, "hidden_size": 32, "mlp_ratio": 2.0, "num_heads": 2, "depth": 1, "theta": 10000}
FLUX |= {"depth_single_blocks": 1, "axes_dim": [4, 6, 6], "qkv_bias": True, "guidance_embed": True}
FLUX2 = FLUX | {"image_model": "flux2", "in_channels": 128, "out_channels": 128, "patch_size": 1, "vec_in_dim": None}
FLUX2 |= {"axes_dim": [4, 4, 4, 4], "global_modulation": True, "mlp_silu_act": True, "qkv_bias": False}
FLUX2 |= {"ops_bias": False, "default_ref_method": "index", "ref_index_scale": 10.0, "theta": 2000}
QWEN = {"image_model": "qwen_image", "in_channels": 64, "num_layers": 2, "attention_head_dim": 16}
QWEN |= {"num_attention_heads": 2, "joint_attention_dim": 24, "axes_dims_rope": (4, 6, 6)}
SD3 = {"in_channels": 16, "out_channels": 16, "patch_size": 2, "depth": 1, "input_size": None, "adm_in_channels": 2048}
SD3 |= {"context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 24, "out_features": 64}}}
SD3 |= {"num_patches": 400, "pos_embed_max_size": 20, "pos_embed_scaling_factor": None, "qk_norm": "rms"}
SD35 = SD3 | {"depth": 2, "x_block_self_attn_layers": [0]}
SD35 |= {"context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 24, "out_features": 128}}}
Z_IMAGE = {"image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 256, "cap_feat_dim": 24, "n_layers": 2}
Z_IMAGE |= {"qk_norm": True, "n_heads": 8, "n_kv_heads": 8, "axes_dims": [8, 12, 12], "axes_lens": [64, 32, 32]}
Z_IMAGE |= {"rope_theta": 256.0, "ffn_dim_multiplier": 1.0, "z_image_modulation": True, "time_scale": 1000.0}
Z_IMAGE |= {"pad_tokens_multiple": 32, "multiple_of": 16}

# By name: the class in ComfyUI's supported_models, and the configuration its detection would write.
FAMILIES = {
    "FLUX.1": ("Flux", FLUX),
    "FLUX.1 Fill": ("FluxInpaint", FLUX | {"in_channels": 96}),
    "FLUX.2": ("Flux2", FLUX2),
    "Qwen-Image": ("QwenImage", QWEN),
    "SD3": ("SD3", SD3),
    "SD3.5 medium": ("SD3", SD35),
    "Z-Image": ("ZImage", Z_IMAGE),
    "Lumina 2": ("Lumina2", Z_IMAGE | {"pad_tokens_multiple": None, "z_image_modulation": False, "n_kv_heads": 2}),
}


def tiny_transformer(name: str):
    """A MODEL of a family, of random weights."""
    family, config = FAMILIES[name]
    if "Flux" in family and "txt_ids_dims" in {
        field.name for field in fields(comfy("comfy.ldm.flux.model").FluxParams)
    }:
        config = config | {"txt_ids_dims": [3] if family == "Flux2" else []}  # newer than 0.3.75
    described = getattr(comfy("comfy.supported_models"), family)(config | {"dtype": torch.float32})
    network = described.get_model({}, "")
    generator = torch.Generator().manual_seed(0)
    for parameter in network.diffusion_model.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    for buffer in network.diffusion_model.buffers():
        torch.nn.init.normal_(buffer, std=0.2, generator=generator)
    return comfy("comfy.model_patcher").ModelPatcher(network, torch.device("cpu"), torch.device("cpu"))


def channels(name: str) -> int:
    return 128 if name == "FLUX.2" else 16
