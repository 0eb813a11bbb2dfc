"""What tests of checkpoints share: small ones, written in each of the forms that people have."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import UNET_LIKE_SDXL, tiny_checkpoint, tiny_config
from torch import Tensor

from inpainting_core import checkpoint as checkpoints
from inpainting_core import empty_prompt
from inpainting_core.checkpoint import Checkpoint, read_checkpoint
from inpainting_core.empty_prompt import LENGTH, Prompt, TextEncoder
from inpainting_core.engine import build_unet, build_vae
from inpainting_core.ldm_keys import unet_layout, vae_layout

CONFIG, XL_CONFIG = tiny_config(), tiny_config(UNET_LIKE_SDXL)
FIRST = "model.diffusion_model.input_blocks.0.0.weight"
TEXT_WIDTH, TEXT_LAYERS = 64, 2


@pytest.fixture(scope="module")
def base() -> Checkpoint:
    return tiny_checkpoint(CONFIG, seed=1)


@pytest.fixture(scope="module")
def other_unet() -> dict[str, Tensor]:
    return tiny_checkpoint(CONFIG, seed=2).unet


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our small UNets stand for published ones, and small text encoders for theirs."""
    for config in (CONFIG, XL_CONFIG):
        monkeypatch.setitem(checkpoints.BY_CONTEXT, config.unet.context_dim, config)
    monkeypatch.setitem(empty_prompt.ENCODERS, TEXT_WIDTH, (TextEncoder(TEXT_LAYERS, 0, "gelu"),))
    one, other = TextEncoder(1, 49407, "quick_gelu", normed=False), TextEncoder(1, 0, "gelu", False, pooled=True)
    monkeypatch.setitem(empty_prompt.ENCODERS, 2 * TEXT_WIDTH, (one, other))


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def assert_same_prompt(one: Prompt, other: Prompt) -> None:
    assert torch.equal(one.tokens, other.tokens)
    assert (one.pooled is other.pooled is None) or torch.equal(one.pooled, other.pooled)


def refuses(path: Path, sentence: str, base: Checkpoint | None = None, error: type = ValueError) -> None:
    with pytest.raises(error, match=re.escape(sentence)) as caught:
        read_checkpoint(path, base)
    assert "\n" not in str(caught.value)


def single_file(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The checkpoint as LDM stores it: no metadata, some tables besides."""
    unet, vae = unet_layout(checkpoint.config.unet), vae_layout(checkpoint.config.vae)
    tensors = {"model.diffusion_model." + slot.ldm: checkpoint.unet[ours] for ours, slot in unet.items()}
    for ours, slot in vae.items():
        tensors["first_stage_model." + slot.ldm] = checkpoint.vae[ours].reshape(slot.ldm_shape)
    return tensors | {"betas": torch.zeros(1000), "model_ema.decay": torch.zeros(())}


def random_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Half-precision weights, different for each name, without drawing a number for each."""
    pool = torch.rand(2**20, generator=torch.Generator().manual_seed(5)).sub(0.5).mul(0.1).half()
    sizes = {key: math.prod(shape) for key, shape in shapes.items()}
    return {
        key: pool.roll(i).repeat(sizes[key] // len(pool) + 1)[: sizes[key]].reshape(shape).clone()
        for i, (key, shape) in enumerate(shapes.items())
    }


def clip_weights(width: int = TEXT_WIDTH, layers: int = TEXT_LAYERS) -> dict[str, Tensor]:
    """A random text encoder in OpenCLIP's names."""
    shapes = {"token_embedding.weight": (49408, width), "positional_embedding": (LENGTH, width)}
    for number in range(layers):
        block = f"transformer.resblocks.{number}."
        shapes |= {block + "attn.in_proj_weight": (3 * width, width), block + "attn.in_proj_bias": (3 * width,)}
        shapes |= {block + "mlp.c_fc.weight": (4 * width, width), block + "mlp.c_fc.bias": (4 * width,)}
        shapes |= {block + "mlp.c_proj.weight": (width, 4 * width), block + "attn.out_proj.weight": (width, width)}
        vectors = ("mlp.c_proj.bias", "attn.out_proj.bias", "ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias")
        shapes |= {block + name: (width,) for name in vectors}
    return random_weights(shapes | {"ln_final.weight": (width,), "ln_final.bias": (width,)})


def two_text_encoders() -> list[dict[str, Tensor]]:
    """SDXL's pair: one in transformers' names, one in OpenCLIP's with the projection of its pooled vector."""
    first = {f"text_model.{key}": value for key, value in empty_prompt.in_clip_names(clip_weights()).items()}
    projection = random_weights({"text_projection": (TEXT_WIDTH, UNET_LIKE_SDXL.pooled_dim)})
    return [first, {key: 1.5 * value for key, value in clip_weights().items()} | projection]


def diffusers_folder(path: Path, checkpoint: Checkpoint, old_names: bool = False, fp16_bin: bool = False) -> Path:
    unet, vae = build_unet(checkpoint.config.unet), build_vae(checkpoint.config.vae)
    unet.load_state_dict(checkpoint.unet)
    vae.load_state_dict(checkpoint.vae)
    unet.register_to_config(sample_size=8)
    unet.save_pretrained(path / "unet")
    vae.save_pretrained(path / "vae")
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(
        json.dumps({"prediction_type": checkpoint.config.prediction})
    )
    if old_names:
        old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
        tensors = load_file(path / "vae" / "diffusion_pytorch_model.safetensors")
        for new, name in old.items():
            tensors = {key.replace(new, name): value for key, value in tensors.items()}
        save_file(tensors, path / "vae" / "diffusion_pytorch_model.safetensors")
    if fp16_bin:
        (path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
        torch.save(
            {k: v.half() for k, v in checkpoint.unet.items()}, path / "unet" / "diffusion_pytorch_model.fp16.bin"
        )
    return path
