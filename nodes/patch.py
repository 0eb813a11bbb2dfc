"""Our attention inside a ComfyUI UNet: which of its blocks attend to themselves, and what takes their place."""

import logging
from collections.abc import Callable
from functools import lru_cache

from comfy.ldm.modules import attention as comfy_attention
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_patcher import ModelPatcher
from torch import Tensor

Block = tuple[str, int]  # ("input", 1): ComfyUI's name of a block that holds a transformer
Attention = Callable[[Tensor, Tensor, Tensor, int, int, dict], Tensor]  # q, k, v, height, width, options


def unet_of(model: ModelPatcher) -> UNetModel:
    """The UNet in a MODEL.  Raises ValueError for a transformer (Flux, SD3, ...), which has no such blocks."""
    network = model.get_model_object("diffusion_model")
    if not isinstance(network, UNetModel):
        raise ValueError(
            f"model must be a UNet (SD1.5, SD2 or SDXL, for example), got {type(network).__name__}. Load one of these."
        )
    return network


def self_attention_blocks(model: ModelPatcher) -> list[Block]:
    """Every block of the model's UNet that holds a transformer, in the order they run."""
    unet = unet_of(model)
    parts = {"input": unet.input_blocks, "middle": [unet.middle_block or []], "output": unet.output_blocks}
    blocks = [(part, number, block) for part, blocks in parts.items() for number, block in enumerate(blocks)]
    return [(part, number) for part, number, block in blocks if any(map(_is_transformer, block))]


def _is_transformer(layer: object) -> bool:
    return isinstance(layer, comfy_attention.SpatialTransformer)


def replace_self_attention(model: ModelPatcher, attention: Attention, blocks: list[Block]) -> ModelPatcher:
    """A clone of the model whose self-attention is ours in the given blocks; the model itself stays as it was.

    ``attention`` gets q, k, v ``[b, heads, n, d]``, the block's token grid (n = height * width) and ComfyUI's
    options of the call.  Raises ValueError where another node has replaced the self-attention of a block already:
    two replacements cannot both compute it, and dropping either of them silently would be wrong.
    """
    owned = model.model_options["transformer_options"].get("patches_replace", {}).get("attn1", {})
    taken = sorted({key[:2] for key in owned} & set(blocks))
    if taken:
        raise ValueError(
            f"model must have its own self-attention, but another node has replaced it in block {taken[0]}. "
            "Remove one of the two nodes."
        )
    patched = model.clone()
    for block in blocks:
        patched.set_model_attn1_replace(_in_its_place(attention), *block)
    return patched


def _in_its_place(attention: Attention) -> Callable[[Tensor, Tensor, Tensor, dict], Tensor]:
    """``attention`` in the calling form of ComfyUI's attn1 replacement, [b, n, heads * d] in and out."""

    @lru_cache(32)
    def warn(tokens: int, height: int, width: int) -> None:
        logging.warning(
            f"Erase Once: {tokens} tokens do not fit the {width} x {height} grid, so plain attention is used."
        )

    def replacement(q: Tensor, k: Tensor, v: Tensor, options: dict) -> Tensor:
        height, width = options["activations_shape"][-2:]
        q, k, v = (x.unflatten(-1, (options["n_heads"], -1)).transpose(1, 2) for x in (q, k, v))
        if q.shape[2] == k.shape[2] == height * width:
            out = attention(q, k, v, height, width, options)
        else:  # HyperTile, token merging and their like rearrange the tokens
            warn(q.shape[2], height, width)
            out = fast_kernel(options)(q, k, v)
        return out.transpose(1, 2).flatten(2)

    return replacement


def fast_kernel(options: dict) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The attention kernel that this ComfyUI was started with, for q, k, v ``[b, heads, n, d]``."""

    def kernel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return comfy_attention.optimized_attention(
            *(q, k, v, options["n_heads"]),
            skip_reshape=True,
            skip_output_reshape=True,
            attn_precision=options["attn_precision"],
            transformer_options=options,
        )

    return kernel
