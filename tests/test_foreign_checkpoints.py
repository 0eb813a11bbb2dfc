"""Single files as strangers publish them: with leftovers of a training, with an average alone, in eight bits."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoint_files import TEXT_WIDTH, assert_same, assert_same_prompt, clip_weights, refuses, single_file
from safetensors.torch import load_file, safe_open, save_file
from tiny import tiny_checkpoint, tiny_config
from torch import Tensor

from inpainting_core.architecture import SD2_INPAINT, SD15_INPAINT, SDXL_INPAINT
from inpainting_core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from inpainting_core.empty_prompt import encode_empty_prompt
from inpainting_core.ldm_keys import unet_layout

UNET = "model.diffusion_model."
LEFTOVERS = {
    "first_stage_model.loss.logvar": (1,),
    "first_stage_model.loss.discriminator.main.0.weight": (4, 3, 4, 4),
    "first_stage_model.model_ema.decay": (),
    "first_stage_model.model_ema.num_updates": (),
    "first_stage_model.model_ema.encoderconv_inweight": (32, 3, 3, 3),
    "model.diffusion_model.num_updates": (),
    "model_ema.decay": (),
    "model_ema.diffusion_modelinput_blocks00weight": (32, 9, 3, 3),
    "alphas_cumprod": (1000,),
    "log_one_minus_alphas_cumprod": (1000,),
    "logvar": (1000,),
    "embedding_manager.string_to_param_dict.*": (1, 64),
    "optimizer_states.0.state.0.exp_avg": (3,),
    "global_step": (),
}


def pickled(tensors: dict[str, Tensor], path: Path) -> Path:
    torch.save({"state_dict": tensors, "global_step": 3}, path.with_suffix(".ckpt"))
    return path.with_suffix(".ckpt")


def safe(tensors: dict[str, Tensor], path: Path) -> Path:
    save_file({key: value.contiguous() for key, value in tensors.items()}, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


@pytest.mark.parametrize("write", [safe, pickled])
def test_what_belongs_to_no_layer_is_left_out_and_told(
    tmp_path: Path, base: Checkpoint, known: None, caplog, write: Callable
):
    text = {"cond_stage_model.model." + key: value for key, value in clip_weights().items()}
    strays = {key: torch.ones(shape) for key, shape in LEFTOVERS.items()}
    path = write(strays | single_file(base) | text, tmp_path / "sd")
    read = read_checkpoint(path)
    assert_same(read.unet, base.unet)
    assert_same(read.vae, base.vae)
    assert_same_prompt(read.empty_prompt, encode_empty_prompt([clip_weights()], TEXT_WIDTH))
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    count, first = len(LEFTOVERS) + 1, min(LEFTOVERS) if write is safe else next(iter(LEFTOVERS))
    assert said == f"{path.name}: left out {count} keys that belong to no layer, such as {first}."


@pytest.mark.parametrize("key", ["model.diffusion_model.out.2.bias", "first_stage_model.quant_conv.weight"])
def test_a_layer_is_never_made_up_for_by_leftovers(tmp_path: Path, base: Checkpoint, known: None, key: str):
    strays = {name: torch.ones(shape) for name, shape in LEFTOVERS.items()}
    tensors = single_file(base) | strays
    shape = tuple(tensors.pop(key).shape)
    refuses(safe(tensors, tmp_path / "a"), f"a.safetensors must hold {key} of shape {shape}, but has no such key.")


@pytest.mark.parametrize("key", LEFTOVERS)
def test_our_own_files_hold_nothing_else(tmp_path: Path, base: Checkpoint, key: str):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, base)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(load_file(path) | {key: torch.zeros(LEFTOVERS[key])}, path, metadata)
    refuses(path, f"a.safetensors must hold nothing but its model's weights, got {key} too.")


def test_leftovers_of_a_lone_unet_are_left_out(tmp_path: Path, base: Checkpoint, other_unet, caplog):
    strays = {"global_step": torch.zeros(()), "epoch": 3, "optimizer": {"state": {}}}
    torch.save({f"module.{key}": value for key, value in other_unet.items()} | strays, tmp_path / "unet.pth")
    assert_same(read_checkpoint(tmp_path / "unet.pth", base).unet, other_unet)
    assert "unet.pth: left out 2 keys that belong to no layer, such as epoch." in caplog.text
    assert "unet.pth: left out 1 keys that belong to no layer, such as global_step." in caplog.text


# a UNet's average


def averaged(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The UNet under the names of LitEma's buffers."""
    return {
        "model_ema." + key.removeprefix("model.").replace(".", "") if key.startswith(UNET) else key: value
        for key, value in tensors.items()
    }


def test_a_file_with_the_average_alone_is_read(tmp_path: Path, base: Checkpoint, known: None):
    read = read_checkpoint(safe(averaged(single_file(base)), tmp_path / "ema"))
    assert_same(read.unet, base.unet)
    assert_same(read.vae, base.vae)


def test_the_average_beside_the_unet_is_left_out(tmp_path: Path, base: Checkpoint, known: None):
    other = single_file(tiny_checkpoint(tiny_config(), seed=3))
    both = single_file(base) | {k: v for k, v in averaged(other).items() if k.startswith("model_ema.")}
    assert_same(read_checkpoint(safe(both, tmp_path / "both")).unet, base.unet)


def test_names_without_dots_tell_one_weight_from_another():
    names = {slot.ldm for c in (SD15_INPAINT, SD2_INPAINT, SDXL_INPAINT) for slot in unet_layout(c.unet).values()}
    assert len({name.replace(".", "") for name in names}) == len(names) > 1600


# eight bits

LAYERS = ("input_blocks.1.0.in_layers.2", "output_blocks.0.1.transformer_blocks.0.ff.net.2", "out.2")
FP8 = pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])


def in_fp8(tensors: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {k: v.to(dtype) if k.startswith(UNET) and v.ndim > 1 else v.half() for k, v in tensors.items()}


def of_unet(tensors: dict[str, Tensor], layer: str) -> Tensor:
    return tensors[f"{UNET}{layer}.weight"]


def read_layers(path: Path, base: Checkpoint) -> dict[str, Tensor]:
    read, layout = read_checkpoint(path).unet, unet_layout(base.config.unet)
    return {layout[name].ldm: value for name, value in read.items()}


@FP8
def test_plain_fp8_is_read_exactly(tmp_path: Path, base: Checkpoint, known: None, dtype: torch.dtype):
    stored = in_fp8(single_file(base), dtype)
    read = read_layers(safe(stored, tmp_path / "a"), base)
    assert all(torch.equal(value.float(), stored[UNET + name].float()) for name, value in read.items())
    assert {value.dtype for value in read.values()} == {torch.float16}


@FP8
def test_every_number_of_fp8_is_one_of_fp16(dtype: torch.dtype):
    every = torch.arange(256, dtype=torch.uint8).view(dtype)
    assert torch.equal(every.half().float().nan_to_num(7.0), every.float().nan_to_num(7.0))


def scale_of(number: int) -> Tensor:
    return torch.tensor(0.37 + number)


def scaled_before(layer: str, number: int) -> dict[str, Tensor]:
    return {f"{layer}.scale_weight": scale_of(number), f"{layer}.scale_input": torch.ones(())}


def scaled_after(layer: str, number: int) -> dict[str, Tensor]:
    form = torch.tensor(list(b'{"format": "float8_e4m3fn", "full_precision_matrix_mult": true}'), dtype=torch.uint8)
    return {
        f"{layer}.weight_scale": scale_of(number),
        f"{layer}.input_scale": scale_of(9),
        f"{layer}.comfy_quant": form,
    }


@FP8
@pytest.mark.parametrize("beside", [scaled_before, scaled_after])
@pytest.mark.parametrize("mark", [torch.zeros(2), torch.zeros(0), None], ids=["whole", "fast", "unmarked"])
def test_the_scale_of_scaled_fp8_is_applied(
    tmp_path: Path, base: Checkpoint, known: None, dtype: torch.dtype, beside: Callable, mark: Tensor | None, caplog
):
    stored = in_fp8(single_file(base), dtype)
    del stored["betas"], stored["model_ema.decay"]
    told = {} if mark is None else {f"{UNET}scaled_fp8": mark.to(dtype)}
    for number, layer in enumerate(LAYERS):
        told |= beside(UNET + layer, number)
    read = read_layers(safe(stored | told, tmp_path / "a"), base)
    for number, layer in enumerate(LAYERS):
        assert torch.equal(read[f"{layer}.weight"], of_unet(stored, layer).float() * scale_of(number))
    for name in read.keys() - {f"{layer}.weight" for layer in LAYERS}:
        assert torch.equal(read[name].float(), stored[UNET + name].float())
    assert caplog.text == ""  # a scale is no leftover


def test_a_scale_for_each_row_is_applied_to_its_row(tmp_path: Path, base: Checkpoint, known: None):
    stored, layer = in_fp8(single_file(base), torch.float8_e4m3fn), LAYERS[1]
    weight = of_unet(stored, layer)
    scale = torch.rand(len(weight), 1)
    read = read_layers(safe(stored | {f"{UNET}{layer}.scale_weight": scale}, tmp_path / "a"), base)
    assert torch.equal(read[f"{layer}.weight"], weight.float() * scale)


def test_scaled_fp8_that_is_told_of_in_the_metadata(tmp_path: Path, base: Checkpoint, known: None):
    stored, layer, path = in_fp8(single_file(base), torch.float8_e4m3fn), UNET + LAYERS[0], tmp_path / "a.safetensors"
    stored = {key: value.contiguous() for key, value in stored.items()} | {f"{layer}.weight_scale": scale_of(0)}
    save_file(stored, path, {"_quantization_metadata": json.dumps({"layers": {layer: {"format": "float8_e4m3fn"}}})})
    read = read_layers(path, base)
    assert torch.equal(read[f"{LAYERS[0]}.weight"], stored[f"{layer}.weight"].float() * scale_of(0))
    save_file(stored, path, {"_quantization_metadata": json.dumps({"layers": {layer: {"format": "mxfp8"}}})})
    refuses(path, f"a.safetensors must hold whole or fp8 weights, got {layer} in mxfp8; take its fp16 version.")
    save_file(stored, path, {"_quantization_metadata": "[]"})
    refuses(path, "a.safetensors must say in what form its weights are, got what cannot be read (")


def test_a_text_encoder_in_scaled_fp8_is_read(tmp_path: Path, base: Checkpoint, known: None):
    prefix, name = "cond_stage_model.model.", "transformer.resblocks.0.mlp.c_fc"
    scaled = clip_weights()[f"{name}.weight"].to(torch.float8_e4m3fn)
    text = clip_weights() | {f"{name}.weight": scaled, f"{name}.scale_weight": scale_of(1)}
    text |= {"scaled_fp8": torch.zeros(0).to(torch.float8_e4m3fn)}
    stored = single_file(base) | {prefix + key: value for key, value in text.items()}
    expected = encode_empty_prompt([clip_weights() | {f"{name}.weight": scaled.float() * scale_of(1)}], TEXT_WIDTH)
    assert_same_prompt(read_checkpoint(safe(stored, tmp_path / "a")).empty_prompt, expected)


LAYER = UNET + LAYERS[1]
UNKNOWN = {
    "nvfp4": {f"{LAYER}.comfy_quant": torch.tensor(list(b'{"format": "nvfp4"}'), dtype=torch.uint8)},
    "int8": {f"{LAYER}.comfy_quant": torch.tensor(list(b'{"format": "int8_tensorwise"}'), dtype=torch.uint8)},
    "nonsense": {f"{LAYER}.comfy_quant": torch.zeros(3, dtype=torch.uint8)},
    "inverse": {f"{LAYER}.weight_scale_inv": torch.ones(2, 2)},
    "two scales": {f"{LAYER}.weight_scale": torch.ones(()), f"{LAYER}.weight_scale_2": torch.ones(())},
    "blocks": {f"{LAYER}.weight_scale": torch.ones(32, 8)},
    "scales in bits": {f"{LAYER}.weight_scale": torch.ones(32, 8, dtype=torch.uint8)},
    "bitsandbytes": {f"{LAYER}.weight.absmax": torch.ones(3)},
}


@pytest.mark.parametrize("stray", UNKNOWN.values(), ids=UNKNOWN)
def test_fp8_in_a_form_that_is_not_known_is_refused(tmp_path: Path, base: Checkpoint, known: None, stray: dict):
    stored = in_fp8(single_file(base), torch.float8_e4m3fn) | stray
    refuses(safe(stored, tmp_path / "a"), "a.safetensors must ")


def test_whole_numbers_are_no_weights(tmp_path: Path, base: Checkpoint, known: None):
    stored, key = single_file(base), f"{LAYER}.weight"
    stored |= {key: stored[key].char(), f"{LAYER}.weight_scale": torch.ones(())}
    sentence = f"a.safetensors must hold {key} in floating point, got torch.int8, a form that is not read; take"
    refuses(safe(stored, tmp_path / "a"), sentence)
