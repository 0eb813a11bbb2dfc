"""Our own checkpoints: one form out, the same back in, one sentence for what does not fit."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_files import (
    CONFIG,
    FIRST,
    XL_CONFIG,
    assert_same,
    assert_same_prompt,
    refuses,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import KL, NANO, TINY, UNET, UNET_LIKE_SD2, UNET_LIKE_SD15, UNET_LIKE_SDXL, tiny_checkpoint, tiny_config

from inpainting_core.architecture import SD2_INPAINT, SD15_INPAINT, ModelConfig
from inpainting_core.checkpoint import PROMPT, Checkpoint, read_checkpoint, write_checkpoint
from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import build_unet


@pytest.mark.parametrize(
    "unet",
    [UNET, UNET_LIKE_SD15, UNET_LIKE_SD2, UNET_LIKE_SDXL, NANO],
    ids=["small", "sd15", "sd2", "sdxl", "nano"],
)
@pytest.mark.parametrize("vae", [KL, TINY], ids=["kl", "tiny"])
def test_what_is_written_is_read_back(tmp_path: Path, unet, vae):
    config = replace(tiny_config(unet, vae, "v_prediction"), training={"stage": "any", "steps": 3})
    written = tiny_checkpoint(config)
    write_checkpoint(tmp_path / "a.safetensors", written, torch.float32)
    read = read_checkpoint(tmp_path / "a.safetensors")
    assert read.config == config
    assert_same(read.unet, written.unet)
    assert_same(read.vae, written.vae)
    assert_same_prompt(read.empty_prompt, written.empty_prompt)


@pytest.mark.parametrize("config", [SD15_INPAINT, SD2_INPAINT, tiny_config(NANO, TINY, "v_prediction")])
def test_a_configuration_from_before_sdxl_means_what_it_meant(config: ModelConfig):
    stored = json.loads(json.dumps(config.as_dict()))
    for part, new in (("unet", "depth"), ("unet", "pooled_dim"), ("vae", "needs_fp32")):
        del stored[part][new]
    del stored["under_hole"], stored["texture"], stored["draws"]
    assert ModelConfig.from_dict(stored) == config


def test_what_a_unet_sees_under_its_hole_and_whether_it_draws_texture_travel_with_it(tmp_path: Path):
    written = tiny_checkpoint(replace(tiny_config(), under_hole="continued", texture="borrowed", draws=4))
    write_checkpoint(tmp_path / "a.safetensors", written)
    read = read_checkpoint(tmp_path / "a.safetensors").config
    assert (read.under_hole, read.texture, read.draws) == ("continued", "borrowed", 4)
    with pytest.raises(ValueError, match=r"under_hole must be one of \('grey', 'continued', 'copied'\), got 'white'."):
        replace(written.config, under_hole="white")
    with pytest.raises(ValueError, match=r"texture must be one of \('own', 'borrowed', 'copied'\), got 'stolen'."):
        replace(written.config, texture="stolen")
    with pytest.raises(ValueError, match="draws must be a whole number from 1 to 64, got 0."):
        replace(written.config, draws=0)


def test_the_file_is_half_precision_with_ldm_names(tmp_path: Path):
    write_checkpoint(tmp_path / "a.safetensors", tiny_checkpoint(tiny_config(vae=TINY)))
    tensors = load_file(tmp_path / "a.safetensors")
    assert tensors.pop("erase_once.empty_prompt").dtype == torch.float32  # an input, not a weight
    assert {value.dtype for value in tensors.values()} == {torch.float16}
    assert FIRST in tensors and "first_stage_model.taesd_decoder.1.weight" in tensors
    assert float(tensors["first_stage_model.vae_scale"]) == 1 and float(tensors["first_stage_model.vae_shift"]) == 0


def test_the_autoencoders_attention_is_written_as_a_convolution(tmp_path: Path, base: Checkpoint):
    write_checkpoint(tmp_path / "a.safetensors", base)
    assert load_file(tmp_path / "a.safetensors")["first_stage_model.encoder.mid.attn_1.q.weight"].shape == (
        64,
        64,
        1,
        1,
    )


def test_the_loaded_networks_give_identical_outputs(tmp_path: Path, base: Checkpoint):
    write_checkpoint(tmp_path / "a.safetensors", base, torch.float32)
    read, x = read_checkpoint(tmp_path / "a.safetensors"), torch.randn(1, 9, 8, 8)
    before, after = build_unet(CONFIG.unet), build_unet(CONFIG.unet)
    before.load_state_dict(base.unet)
    after.load_state_dict(read.unet)
    with torch.no_grad():
        one, two = (net(x, torch.tensor([7]), base.empty_prompt.tokens).sample for net in (before, after))
    assert torch.equal(one, two)


def test_a_file_without_autoencoder_or_prompt_takes_the_bases(tmp_path: Path, base: Checkpoint):
    bare = Checkpoint(tiny_config(vae=TINY), base.unet)
    write_checkpoint(tmp_path / "a.safetensors", bare, torch.float32)
    alone = read_checkpoint(tmp_path / "a.safetensors")
    assert alone.vae is None and alone.empty_prompt is None
    filled = read_checkpoint(tmp_path / "a.safetensors", base)
    assert filled.vae is base.vae and filled.empty_prompt is base.empty_prompt and filled.config.vae == KL


def test_writing_refuses_weights_that_do_not_fit(tmp_path: Path, base: Checkpoint):
    unet = {key: value for key, value in base.unet.items() if key != "conv_out.bias"}
    with pytest.raises(ValueError, match=re.escape("the UNet must hold conv_out.bias of shape (4,)")):
        write_checkpoint(tmp_path / "a.safetensors", replace(base, unet=unet))


def test_a_prompt_of_another_width_is_refused(base: Checkpoint):
    sentence = "empty_prompt must be [1, n, 64], floating point, got [1, 77, 768] of torch.float32."
    with pytest.raises(ValueError, match=re.escape(sentence)):
        replace(base, empty_prompt=Prompt(torch.zeros(1, 77, 768)))


@pytest.mark.parametrize("change", [torch.flatten, torch.Tensor.int, lambda x: x[:, :0], lambda x: x[None]])
def test_a_file_with_another_prompt_than_its_models_is_refused_by_name(tmp_path: Path, base: Checkpoint, change):
    write_checkpoint(tmp_path / "a.safetensors", base)
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()
    tensors[PROMPT] = change(tensors[PROMPT]).contiguous()
    save_file(tensors, tmp_path / "a.safetensors", metadata)
    sentence = (
        r"^a\.safetensors must hold the empty prompt of its model: empty_prompt must be \[1, n, 64\], floating point"
    )
    with pytest.raises(ValueError, match=sentence):
        read_checkpoint(tmp_path / "a.safetensors")


def test_a_prompt_without_the_pooled_vector_its_unet_wants_is_refused(base: Checkpoint):
    sentence = "empty_prompt must have a pooled vector of shape {} for its UNet, got {}."
    with pytest.raises(ValueError, match=re.escape(sentence.format((1, 48), None))):
        Checkpoint(XL_CONFIG, {}, empty_prompt=Prompt(torch.zeros(1, 77, 128)))
    with pytest.raises(ValueError, match=re.escape(sentence.format(None, (1, 48)))):
        replace(base, empty_prompt=Prompt(torch.zeros(1, 77, 64), torch.zeros(1, 48)))


def test_metadata_that_is_not_ours_is_refused(tmp_path: Path, base: Checkpoint):
    save_file({FIRST: torch.zeros(1)}, tmp_path / "a.safetensors", {"erase_once": '{"colour": 3}'})
    refuses(
        tmp_path / "a.safetensors", "a.safetensors must describe its model in its metadata, got '{\"colour\": 3}' ("
    )


def test_others_may_read_what_they_may_read_of_any_new_file(tmp_path):
    path, usual = tmp_path / "ours.safetensors", tmp_path / "usual"
    write_checkpoint(path, tiny_checkpoint())
    usual.touch()
    assert path.stat().st_mode == usual.stat().st_mode
    assert {file.name for file in tmp_path.iterdir()} == {"ours.safetensors", "usual"}
