"""The export for ComfyUI: what goes into the file, and what is refused because Load Checkpoint would not take it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from in_comfyui import comfy, load_pack, nodes, room
from safetensors.torch import load_file, save_file
from stock_checkpoint import SHAPE, text_encoder
from test_lora import with_lora
from tiny import KL, NANO, TINY, UNET, tiny_checkpoint, tiny_config
from torch import Tensor

from inpainting_core import checkpoint as checkpoints
from inpainting_core import empty_prompt
from inpainting_core.architecture import (
    SD2_INPAINT,
    SD15_INPAINT,
    SDXL_INPAINT,
    ModelConfig,
    UNetShape,
    VAEShape,
)
from inpainting_core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from inpainting_core.empty_prompt import TextEncoder, encode_empty_prompt, in_clip_names
from inpainting_core.engine import load_unet
from inpainting_core.ldm_keys import unet_layout
from training.export_comfyui import main, parse_args
from training.networks import stock_loader, text_encoders
from training.networks.lora import lora_weights, merge_lora, write_lora
from training.networks.stock_loader import marks, require_stock
from training.networks.text_encoders import StockText, clip_shapes, for_stock, in_openclip_names, read_texts, texts_in

TEXT = StockText("cond_stage_model.model.", True, 64, (3, 2))
STOCK_TINY = VAEShape(kind="tiny")


def export(**arguments: object) -> None:
    flags = {f"--{name.replace('_', '-')}": str(value) for name, value in arguments.items()}
    main(parse_args([part for pair in flags.items() for part in pair]))


def clip(width: int, layers: int, seed: int = 0) -> dict[str, Tensor]:
    """A text encoder of random weights in transformers' names."""
    generator = torch.Generator().manual_seed(seed)
    shapes = clip_shapes(width, layers)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> ModelConfig:
    """A small family that stands for a published one: width 64, a text encoder by OpenCLIP's names."""
    config = tiny_config(UNET, KL)
    monkeypatch.setitem(checkpoints.BY_CONTEXT, 64, config)
    monkeypatch.setattr(stock_loader, "FIRST_LEVEL", UNET.channels[0])
    monkeypatch.setitem(empty_prompt.ENCODERS, 64, (TextEncoder(2, 0, "gelu"),))
    monkeypatch.setitem(text_encoders.STOCK_TEXTS, 64, (TEXT,))
    return config


# what goes into the file


@pytest.mark.parametrize("kind", ["fp16", "bf16", "fp32"])
def test_one_file_holds_it_all(tmp_path: Path, small: ModelConfig, kind: str):
    trained = replace(tiny_checkpoint(replace(small, training={"method": "eradiff"})), vae=None, empty_prompt=None)
    write_checkpoint(tmp_path / "trained.safetensors", trained, torch.float32)
    base, text = tiny_checkpoint(small, seed=1), clip(64, 3)
    base = replace(base, empty_prompt=encode_empty_prompt([text], 64))
    stock_only = for_stock([text], 64, "base")
    write_checkpoint(tmp_path / "base.safetensors", base, torch.float32, stock_only)
    export(
        model=tmp_path / "trained.safetensors",
        base=tmp_path / "base.safetensors",
        dtype=kind,
        out=tmp_path / "out.safetensors",
    )
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[kind]
    stored, read = load_file(tmp_path / "out.safetensors"), read_checkpoint(tmp_path / "out.safetensors")
    assert read.config == trained.config
    assert_same(read.unet, {key: value.to(dtype) for key, value in trained.unet.items()})
    assert_same(read.vae, {key: value.to(dtype) for key, value in base.vae.items()})
    inside = {key: value for key, value in stored.items() if key.startswith("cond_stage_model.")}
    assert_same(inside, {key: value.to(dtype) for key, value in stock_only.items()})
    rounded = {key: value.to(dtype) for key, value in text.items()}
    assert torch.equal(read.empty_prompt.tokens, encode_empty_prompt([rounded], 64).tokens)


def test_the_prompt_is_encoded_where_only_the_text_encoder_is_stored(tmp_path: Path, small: ModelConfig):
    text = clip(64, 3)
    bare = replace(tiny_checkpoint(small), empty_prompt=None)
    write_checkpoint(tmp_path / "a.safetensors", bare, torch.float32, for_stock([text], 64, "text"))
    read = read_checkpoint(tmp_path / "a.safetensors")
    assert torch.equal(read.empty_prompt.tokens, encode_empty_prompt([text], 64).tokens)


def test_the_text_encoder_is_taken_or_left_out_as_asked(tmp_path: Path, small: ModelConfig):
    text = clip(64, 2)
    checkpoint = replace(tiny_checkpoint(small), empty_prompt=encode_empty_prompt([text], 64))
    write_checkpoint(tmp_path / "model.safetensors", checkpoint, torch.float32)
    save_file(text, tmp_path / "text.safetensors")
    common = {"model": tmp_path / "model.safetensors", "out": tmp_path / "out.safetensors"}

    def with_text(**arguments: object) -> bool:
        export(**common, **arguments)
        return any(key.startswith("cond_stage_model.") for key in load_file(tmp_path / "out.safetensors"))

    assert not with_text() and with_text(text_encoder=tmp_path / "text.safetensors")
    (tmp_path / "out.safetensors").rename(tmp_path / "whole.safetensors")
    common["model"] = tmp_path / "whole.safetensors"
    assert with_text() and not with_text(text_encoder="none")


def test_a_lora_is_folded_in(tmp_path: Path, small: ModelConfig):
    checkpoint = tiny_checkpoint(small)
    lora = lora_weights(with_lora(load_unet(checkpoint)))
    write_checkpoint(tmp_path / "model.safetensors", checkpoint, torch.float32)
    write_lora(tmp_path / "lora.safetensors", lora, small, torch.float32)
    files = {"model": tmp_path / "model.safetensors", "lora": tmp_path / "lora.safetensors"}
    export(**files, dtype="fp32", out=tmp_path / "out.safetensors")
    read = read_checkpoint(tmp_path / "out.safetensors")
    assert_same(read.unet, merge_lora(checkpoint.unet, lora))
    assert read.config.training == {"lora": "lora.safetensors", "before": {}}


def test_names_go_to_openclip_and_back():
    weights = clip(64, 2) | {"text_projection.weight": torch.randn(64, 64)}
    there = in_openclip_names(weights)
    assert there["transformer.resblocks.1.attn.in_proj_weight"].shape == (192, 64) and len(there) < len(weights)
    assert_same(in_clip_names(there), weights)


@pytest.mark.parametrize("layers", [3, 2])
def test_a_text_encoder_is_found_wherever_it_lies(tmp_path: Path, small: ModelConfig, layers: int):
    """In a folder of diffusers, a folder or file of its own, or a single file; by either's names."""
    weights = clip(64, layers)
    folder = tmp_path / "pipeline" / "text_encoder"
    folder.mkdir(parents=True)
    buffers = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    save_file({f"text_model.{key}": value for key, value in weights.items()} | buffers, folder / "model.safetensors")
    named = for_stock([weights], 64, "text")
    extras = {f"{TEXT.prefix}text_projection": torch.ones(2, 2), f"{TEXT.prefix}logit_scale": torch.ones(())}
    save_file(named | extras | {"model.diffusion_model.x": torch.ones(1)}, tmp_path / "single.safetensors")
    for path in (tmp_path / "pipeline", folder, folder / "model.safetensors", tmp_path / "single.safetensors"):
        assert_same(for_stock(read_texts(path), 64, "text"), named)
    (tmp_path / "no_text").mkdir()
    save_file({"model.diffusion_model.x": torch.ones(1)}, tmp_path / "no_text.safetensors")
    assert texts_in(tmp_path / "no_text", ()) == texts_in(tmp_path / "no_text.safetensors", ()) == []


# what is refused


def test_a_text_encoder_that_is_not_whole_or_not_the_models_is_refused(tmp_path: Path, small: ModelConfig):
    weights = clip(64, 3)
    key = "encoder.layers.1.mlp.fc1.bias"
    with pytest.raises(ValueError, match=re.escape(f"it must hold {key} of shape (256,), but has no such key.")):
        for_stock([{name: value for name, value in weights.items() if name != key}], 64, "it")
    with pytest.raises(ValueError, match=r"it must hold .*weight of shape \(.*64.*\), got \(.*128.*\)"):
        for_stock([clip(128, 3)], 64, "it")

    checkpoint = replace(tiny_checkpoint(small), empty_prompt=encode_empty_prompt([weights], 64))
    write_checkpoint(tmp_path / "model.safetensors", checkpoint)
    save_file(clip(64, 3, seed=1), tmp_path / "other.safetensors")
    common = {"model": tmp_path / "model.safetensors", "out": tmp_path / "out.safetensors"}
    with pytest.raises(ValueError, match="the text encoder must give the model's own empty prompt, got one .*% off."):
        export(**common, text_encoder=tmp_path / "other.safetensors")
    write_checkpoint(tmp_path / "model.safetensors", replace(checkpoint, empty_prompt=None))
    with pytest.raises(ValueError, match="an export needs the empty prompt: give --text-encoder or a --base"):
        export(**common)
    assert not (tmp_path / "out.safetensors").exists()


def test_out_must_be_a_safetensors_file(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        parse_args(["--model", "a.safetensors", "--out", "b.ckpt"])
    assert "--out must end in .safetensors, got b.ckpt." in capsys.readouterr().err


SD15, SD2, SDXL = SD15_INPAINT, SD2_INPAINT, SDXL_INPAINT


def sd15(**changed: object) -> ModelConfig:
    return replace(SD15, unet=replace(SD15.unet, **changed))


def sd2(**changed: object) -> ModelConfig:
    return replace(SD2, unet=replace(SD2.unet, **changed))


TAKEN = {
    "SD1.5": SD15,
    "SD2": SD2,
    "SDXL": SDXL,
    "v prediction in SDXL": replace(SDXL, prediction="v_prediction"),
    "the tiny autoencoder": replace(SD15, vae=STOCK_TINY),
    "one level": sd15(channels=(320,), attention=(True,), layers=1),
    "one layer a level": sd15(layers=1),
    "three layers a level": sd2(layers=3),
    "another width": sd2(channels=(320, 960, 320), attention=(True, True, True)),
    "attention on the last level only": sd15(channels=(320, 640), attention=(False, True)),
    "attention here and there": sd2(attention=(True, False, False, True)),
}
REFUSED = {
    "the nano": (replace(SD15, unet=NANO, vae=TINY), "a text of width 768 or 1024 or 2048", "got 64"),
    "a narrow UNet": (sd15(channels=(64, 128, 256, 256)), "a UNet with 320 channels on the first level", "(64, 128"),
    "a width that is no multiple": (sd2(channels=(320, 640, 1280, 1216)), "and multiples of that", "1216"),
    "no attention on any level": (sd15(attention=(False,) * 4), "a UNet that attends on one level", "(False,"),
    "SD2's projections in SD1.5": (sd15(linear_projection=True), "linear_projection False", "got True"),
    "SD1.5's projections in SD2": (sd2(linear_projection=False), "linear_projection True", "got False"),
    "another number of heads": (sd15(heads=10), "a UNet with heads 8 where the text is 768 wide", "got 10"),
    "SD2's width of heads in SD1.5": (sd15(heads=None, head_dim=64), "heads 8", "got None"),
    "another width of heads": (sd2(head_dim=32), "head_dim 64", "got 32"),
    "a shallower SDXL": (
        replace(SDXL, unet=replace(SDXL.unet, depth=(1, 2, 3))),
        "depth (1, 2, 10) where the text is 2048 wide",
        "got (1, 2, 3)",
    ),
    "SDXL with other levels": (
        replace(SDXL, unet=replace(SDXL.unet, layers=3)),
        "layers 2 where the text is 2048 wide",
        "got 3",
    ),
    "SDXL's scale in SD1.5": (replace(SD15, vae=SDXL.vae), "latents are scaled by 0.18215", "got 0.13025"),
    "no inpainting UNet": (sd15(in_channels=4), "in_channels 9", "got 4"),
    "v prediction": (replace(SD15, prediction="v_prediction"), "predicts epsilon", "got v_prediction"),
    "v prediction in SD2": (replace(SD2, prediction="v_prediction"), "predicts epsilon", "got v_prediction"),
    "a narrow autoencoder": (replace(SD15, vae=KL), "the tiny autoencoder or one of channels", "(32, 32, 32, 64), 1"),
    "another scale": (replace(SD2, vae=TINY), "latents are scaled by 0.18215", "got 0.9"),
}
SHAPE_RULES = [name for name in REFUSED if "autoencoder" not in name]


def checkpoint_of(config: ModelConfig) -> Checkpoint:
    return Checkpoint(config, unet={}, vae={})


@pytest.mark.parametrize("config", TAKEN.values(), ids=TAKEN)
def test_what_load_checkpoint_takes_is_taken(comfyui: Path, config: ModelConfig):
    require_stock(checkpoint_of(config), "it")
    assert as_it_is(comfyui, config)


@pytest.mark.parametrize("name", REFUSED)
def test_what_load_checkpoint_would_not_open_or_get_wrong_is_refused(comfyui: Path, name: str):
    config, rule, got = REFUSED[name]
    with pytest.raises(ValueError, match="stock Load Checkpoint takes only") as caught:
        require_stock(checkpoint_of(config), "it")
    assert rule in str(caught.value) and got in str(caught.value) and "\n" not in str(caught.value)
    if name in SHAPE_RULES:
        assert not as_it_is(comfyui, config)


def test_only_v_prediction_is_marked():
    assert list(marks(TAKEN["v prediction in SDXL"])) == ["v_pred"] and marks(SDXL) == marks(SD15) == {}


def test_a_model_without_an_autoencoder_is_refused():
    with pytest.raises(ValueError, match="a checkpoint with an autoencoder, got none in it."):
        require_stock(Checkpoint(SD15, unet={}), "it")


def as_it_is(comfyui: Path, config: ModelConfig) -> bool:
    """Whether ComfyUI itself, given the weights' shapes and nothing else, comes to what our configuration says."""
    load_pack(comfyui)
    nodes()
    weights = {slot.ldm: torch.empty(slot.ldm_shape, device="meta") for slot in unet_layout(config.unet).values()}
    if config.prediction == "v_prediction":
        weights["v_pred"] = torch.ones(())
    try:
        detected = comfy("comfy.model_detection").model_config_from_unet(weights, "")
    except KeyError:
        return False
    if detected is None or not detected.inpaint_model():
        return False
    ours, first = room("model").describe(config), config.unet.channels[0]
    widths = [times * first for times in detected.unet_config.pop("channel_mult")]
    same = widths == list(config.unet.channels) and bool(ours.unet_config.pop("channel_mult"))
    same = same and {**detected.unet_config} == ours.unet_config
    named = {"EPS": "epsilon", "V_PREDICTION": "v_prediction"}[detected.model_type(weights).name]
    return same and named == config.prediction and detected.latent_format.scale_factor == config.vae.scale


# in ComfyUI itself


def test_load_checkpoint_opens_a_small_file(comfyui: Path, tmp_path: Path):
    opens(comfyui, tmp_path, ModelConfig(unet=SHAPE, vae=STOCK_TINY), text_encoder())


@pytest.mark.full
@pytest.mark.parametrize("layers", [24, 23])
def test_load_checkpoint_opens_sd2_and_its_text_encoder(comfyui: Path, tmp_path: Path, layers: int):
    shape = UNetShape((320,), (True,), 1, heads=None, head_dim=64, context_dim=1024, linear_projection=True)
    text = {key: (value * 0.1).half() for key, value in clip(1024, layers).items()}
    opens(comfyui, tmp_path, ModelConfig(unet=shape, vae=STOCK_TINY), text)


def opens(comfyui: Path, tmp_path: Path, config: ModelConfig, text: dict[str, Tensor]) -> None:
    """Stock Load Checkpoint and ours find the same networks in an export, and its CLIP encodes "" to our prompt."""
    load_pack(comfyui)
    nodes()
    write_checkpoint(tmp_path / "model.safetensors", replace(tiny_checkpoint(config), empty_prompt=None))
    save_file(text, tmp_path / "text.safetensors")
    files = {"model": tmp_path / "model.safetensors", "text_encoder": tmp_path / "text.safetensors"}
    export(**files, out=tmp_path / "out.safetensors")
    ours = read_checkpoint(tmp_path / "out.safetensors")
    with torch.inference_mode():
        opened = comfy("comfy.sd").load_checkpoint_guess_config(str(tmp_path / "out.safetensors"))
        model, stock_clip, vae, _ = opened
        prompt = stock_clip.encode_from_tokens(stock_clip.tokenize(""))
    build = room("model")
    assert model.model.model_type.name == "EPS" and model.model.concat_keys == ("mask", "masked_image")
    assert_same(model.model.diffusion_model.state_dict(), build.build_model(ours).model.diffusion_model.state_dict())
    assert_same(vae.first_stage_model.state_dict(), build.build_vae(ours).first_stage_model.state_dict())
    difference = float((prompt - ours.empty_prompt.tokens).abs().max() / prompt.abs().max())
    print(f"the empty prompt: {difference:.1e} of {prompt.abs().max():.2f}")
    assert difference < 1e-5
