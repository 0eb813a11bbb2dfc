"""A LoRA from training to ComfyUI: it starts as nothing, ends as one file, and does there what it did here."""

import json
import re
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from in_comfyui import comfy, load_pack, nodes, room
from safetensors.torch import load_file, safe_open, save_file
from tiny import NANO, TINY, UNET, UNET_LIKE_SD2, UNET_LIKE_SD15, tiny_checkpoint, tiny_config

from inpainting_core.architecture import ModelConfig, UNetShape
from inpainting_core.engine import build_unet, load_unet
from training.networks.lora import TARGETS, add_lora, base_weights, lora_weights, merge_lora, read_lora, write_lora

SHAPES = {"nano": NANO, "like SD1.5": UNET_LIKE_SD15, "like SD2": UNET_LIKE_SD2}
# Small weights of what Load Checkpoint takes for SD1.5: the first levels' real width, the real text's
SD15_LEVELS = UNetShape((320, 640), (True, False), layers=1, heads=8, context_dim=768)


def with_lora(unet: UNet2DConditionModel, rank: int = 4, alpha: float | None = 6.0) -> UNet2DConditionModel:
    """The UNet with a LoRA that does something: peft begins with an ``up`` of zeros."""
    generator = torch.Generator().manual_seed(5)
    for parameter in add_lora(unet, rank, alpha):
        torch.nn.init.normal_(parameter, std=0.8 / max(parameter.shape) ** 0.5, generator=generator)
    return unet


def output(unet: UNet2DConditionModel, width: int) -> torch.Tensor:
    with torch.no_grad():
        return unet(given(), torch.tensor([400]), text(width)).sample


def given() -> torch.Tensor:
    return torch.randn(1, 9, 16, 24, generator=torch.Generator().manual_seed(1))


def text(width: int) -> torch.Tensor:
    return torch.randn(1, 7, width, generator=torch.Generator().manual_seed(2))


def far(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest number."""
    return float((one - other).abs().max() / other.abs().max())


def test_it_begins_as_nothing_and_leaves_the_base_frozen():
    unet = build_unet(UNET)
    before, frozen = output(unet, 64), {key: value.clone() for key, value in unet.state_dict().items()}
    trained = add_lora(unet, rank=3)
    assert torch.equal(output(unet, 64), before)
    layers = [name for name in unet_layers(UNET) if name.endswith(tuple(TARGETS))]
    assert len(trained) == 2 * len(layers) > 0 and all(parameter.dtype == torch.float32 for parameter in trained)
    assert [parameter for parameter in unet.parameters() if parameter.requires_grad] == trained

    optimizer = torch.optim.Adam(trained, lr=0.1)
    unet(given(), torch.tensor([9]), text(64)).sample.square().mean().backward()
    optimizer.step()
    after = base_weights(unet)
    assert after.keys() == frozen.keys() and all(torch.equal(after[key], frozen[key]) for key in frozen)
    assert far(output(unet, 64), before) > 1e-3


def unet_layers(shape: UNetShape) -> list[str]:
    return [name for name, _ in build_unet(shape).named_modules()]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_folded_in_it_gives_the_same(shape: UNetShape):
    unet, plain = with_lora(build_unet(shape)), build_unet(shape)
    plain.load_state_dict(merge_lora(base_weights(unet), lora_weights(unet)))
    without = build_unet(shape)
    without.load_state_dict(base_weights(unet))
    assert far(output(plain, 64), output(unet, 64)) < 1e-5
    assert far(output(without, 64), output(unet, 64)) > 1e-2


def test_a_file_holds_it_and_says_what_it_belongs_to(tmp_path: Path):
    config, unet = tiny_config(NANO, TINY, "v_prediction"), with_lora(build_unet(NANO))
    write_lora(tmp_path / "lora.safetensors", lora_weights(unet), config)
    stored, read = load_file(tmp_path / "lora.safetensors"), read_lora(tmp_path / "lora.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert {float(value) for key, value in stored.items() if key.endswith(".alpha")} == {6.0}
    assert read.keys() == lora_weights(unet).keys()
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        assert ModelConfig.from_dict(json.loads(file.metadata()["erase_once"])) == config
    assert [path.name for path in tmp_path.iterdir()] == ["lora.safetensors"]


def test_what_is_no_lora_of_this_unet_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="a LoRA's rank must be at least 1, got 0."):
        add_lora(build_unet(UNET), 0)
    weights = lora_weights(with_lora(build_unet(NANO)))
    first = next(iter(weights)).removesuffix(".lora_down.weight")
    for spoilt, got in (
        ({**weights, "lora_te_text.alpha": torch.ones(())}, "got lora_te_text.alpha."),
        ({key: value for key, value in weights.items() if key != f"{first}.alpha"}, f"got no {first}.alpha."),
        ({"conv_in.weight": torch.ones(1)}, "got no lora_unet_....lora_up.weight."),
    ):
        save_file(spoilt, tmp_path / "spoilt.safetensors")
        with pytest.raises(ValueError, match=re.escape(got)):
            read_lora(tmp_path / "spoilt.safetensors")
    other = tiny_checkpoint(tiny_config(UNET_LIKE_SD2)).unet
    with pytest.raises(ValueError, match="a LoRA must fit its UNet's weights, got .* at lora_unet_"):
        merge_lora(other, weights)
    with pytest.raises(ValueError, match="a LoRA must have been made for its UNet, got one for lora_unet_other.alpha"):
        merge_lora(tiny_checkpoint(tiny_config(NANO)).unet, {**weights, "lora_unet_other.alpha": torch.ones(())})


@pytest.mark.parametrize("shape", [*SHAPES.values(), SD15_LEVELS], ids=[*SHAPES, "SD1.5's width"])
def test_comfyui_gives_what_diffusers_gives(comfyui: Path, tmp_path: Path, shape: UNetShape):
    """The stock Load LoRA node on a MODEL of our loader: one UNet pass, adapter on, against diffusers'."""
    load_pack(comfyui)
    nodes()
    checkpoint = tiny_checkpoint(tiny_config(shape, TINY))
    unet = with_lora(load_unet(checkpoint))
    write_lora(tmp_path / "lora.safetensors", lora_weights(unet), checkpoint.config, torch.float32)
    expected, plain = output(unet, shape.context_dim), output(load_unet(checkpoint), shape.context_dim)
    with torch.inference_mode():
        model = room("model").build_model(checkpoint)
        patched, _ = load_lora(model, tmp_path / "lora.safetensors")
        difference, without = (far(passed(m, shape.context_dim), expected) for m in (patched, model))
    print(f"{difference:.1e} with the LoRA, {far(plain, expected):.2f} without")
    assert difference < 1e-4 and without > 1e-2


def load_lora(model, path: Path):
    """What the stock node does with a file; every layer of it must find its place."""
    lora = comfy("comfy.utils").load_torch_file(str(path), safe_load=True)
    patched, clip = comfy("comfy.sd").load_lora_for_models(model, None, lora, 1.0, 0.0)
    assert 3 * len(patched.patches) == len(lora)
    return patched, clip


def passed(model, width: int) -> torch.Tensor:
    """One pass of a MODEL's UNet at timestep 400, its patches in place."""
    comfy("comfy.model_management").load_models_gpu([model], force_full_load=True)
    result = model.model.diffusion_model(given(), torch.tensor([400.0]), text(width))
    model.unpatch_model()
    return result.clone()
