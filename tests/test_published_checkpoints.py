"""Checkpoints as others publish them: single files and diffusers folders, their text encoders run once."""

import json
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_files import (
    CONFIG,
    TEXT_WIDTH,
    XL_CONFIG,
    assert_same,
    assert_same_prompt,
    clip_weights,
    diffusers_folder,
    random_weights,
    refuses,
    single_file,
    two_text_encoders,
)
from safetensors.torch import load_file, save_file
from tiny import KL, TINY, UNET, UNET_LIKE_SD2, UNET_LIKE_SD15, UNET_LIKE_SDXL, tiny_checkpoint, tiny_config

from inpainting_core import checkpoint as checkpoints
from inpainting_core.architecture import SD2_INPAINT, SD15_INPAINT, SDXL_INPAINT, ModelConfig
from inpainting_core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from inpainting_core.diffusers_folder import read_config
from inpainting_core.empty_prompt import LENGTH, Prompt, encode_empty_prompt
from inpainting_core.ldm_keys import unet_layout, vae_layout


def test_a_published_single_file(tmp_path: Path, base: Checkpoint, known: None):
    save_file(single_file(base), tmp_path / "sd.safetensors")
    read = read_checkpoint(tmp_path / "sd.safetensors")
    assert read.config == CONFIG and read.empty_prompt is None
    assert_same(read.unet, base.unet)
    assert_same(read.vae, base.vae)


def test_a_published_ckpt_and_its_text_encoder(tmp_path: Path, base: Checkpoint, known: None):
    text = {"cond_stage_model.model." + key: value for key, value in clip_weights().items()}
    stored = {"state_dict": OrderedDict(single_file(base) | text), "global_step": 7}
    torch.save(stored, tmp_path / "sd.ckpt")
    read = read_checkpoint(tmp_path / "sd.ckpt")
    assert_same(read.unet, base.unet)
    assert_same_prompt(read.empty_prompt, encode_empty_prompt([clip_weights()], TEXT_WIDTH))


def test_a_published_sdxl_file_and_its_two_text_encoders(tmp_path: Path, known: None):
    written, texts = tiny_checkpoint(XL_CONFIG), two_text_encoders()
    stored = single_file(written)
    for prefix, weights in zip(("0.transformer.", "1.model."), texts, strict=True):
        stored |= {f"conditioner.embedders.{prefix}{key}": value.contiguous() for key, value in weights.items()}
    save_file(stored, tmp_path / "xl.safetensors")
    read = read_checkpoint(tmp_path / "xl.safetensors")
    assert read.config == XL_CONFIG
    assert_same(read.unet, written.unet)
    assert_same(read.vae, written.vae)
    assert read.empty_prompt.pooled.shape == (1, 48)
    assert_same_prompt(read.empty_prompt, encode_empty_prompt(texts, 2 * TEXT_WIDTH))


def test_an_sdxl_file_with_one_text_encoder_is_refused(tmp_path: Path, known: None):
    text = {f"conditioner.embedders.0.transformer.{key}": value for key, value in two_text_encoders()[0].items()}
    save_file(single_file(tiny_checkpoint(XL_CONFIG)) | text, tmp_path / "xl.safetensors")
    refuses(tmp_path / "xl.safetensors", "text encoders for a width of 128 must be 2, got 1.")


@pytest.mark.parametrize("config", [SD15_INPAINT, SD2_INPAINT, SDXL_INPAINT], ids=["sd15", "sd2", "sdxl"])
def test_published_files_are_known_by_their_context_width(tmp_path: Path, config: ModelConfig):
    layout = unet_layout(config.unet)
    few = {
        k: s for k, s in layout.items() if k in ("conv_in.weight", "mid_block.attentions.0.norm.weight") or "to_k" in k
    }
    tensors = {
        "model.diffusion_model." + slot.ldm: torch.zeros(slot.ldm_shape, dtype=torch.float16) for slot in few.values()
    }
    save_file(tensors, tmp_path / "sd.safetensors")
    refuses(
        tmp_path / "sd.safetensors",
        "sd.safetensors must hold model.diffusion_model.input_blocks.0.0.bias of shape (320,)",
    )


def test_an_unknown_context_width_is_refused(tmp_path: Path, base: Checkpoint):
    save_file(single_file(base), tmp_path / "sd.safetensors")
    rule = "an SD1.5, SD2 or SDXL UNet, which reads a text of width 768 or 1024 or 2048"
    refuses(tmp_path / "sd.safetensors", f"sd.safetensors must hold {rule}, got width 64.")


@pytest.mark.parametrize("old_names", [False, True])
@pytest.mark.parametrize(
    "unet", [UNET, UNET_LIKE_SD15, UNET_LIKE_SD2, UNET_LIKE_SDXL], ids=["small", "sd15", "sd2", "sdxl"]
)
def test_a_diffusers_folder(tmp_path: Path, unet, old_names: bool):
    written = tiny_checkpoint(tiny_config(unet, prediction="v_prediction"))
    read = read_checkpoint(diffusers_folder(tmp_path / "sd", written, old_names))
    assert read.config == written.config and read.empty_prompt is None
    assert_same(read.unet, written.unet)
    assert_same(read.vae, written.vae)


def test_a_diffusers_folder_of_half_precision_pickles_and_the_tiny_autoencoder(tmp_path: Path):
    written = tiny_checkpoint(tiny_config(vae=TINY))
    read = read_checkpoint(diffusers_folder(tmp_path / "sd", written, fp16_bin=True))
    assert read.config == written.config
    assert_same(read.unet, {key: value.half() for key, value in written.unet.items()})


def test_a_diffusers_folders_text_encoder_is_run(tmp_path: Path, base: Checkpoint, known: None):
    folder = diffusers_folder(tmp_path / "sd", base)
    (folder / "text_encoder").mkdir()
    save_file(clip_weights(), folder / "text_encoder" / "model.safetensors")
    assert_same_prompt(read_checkpoint(folder).empty_prompt, encode_empty_prompt([clip_weights()], TEXT_WIDTH))


def test_the_published_sdxl_folder_is_understood(tmp_path: Path):
    """Its configuration files, as far as they are read."""
    kinds = ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]
    unet = {"sample_size": 128, "in_channels": 9, "block_out_channels": [320, 640, 1280], "layers_per_block": 2}
    unet |= {"down_block_types": kinds, "attention_head_dim": [5, 10, 20], "num_attention_heads": None}
    unet |= {"transformer_layers_per_block": [1, 2, 10], "cross_attention_dim": 2048, "use_linear_projection": True}
    unet |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
    unet |= {"projection_class_embeddings_input_dim": 2816}
    vae = {"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2}
    vae |= {"scaling_factor": 0.13025, "force_upcast": True}
    files = {"unet/config": unet, "vae/config": vae, "scheduler/scheduler_config": {"prediction_type": "epsilon"}}
    for name, config in files.items():
        (tmp_path / f"{name}.json").parent.mkdir()
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    assert read_config(tmp_path) == SDXL_INPAINT


def test_an_sdxl_folder_and_its_two_text_encoders(tmp_path: Path, known: None):
    written, texts = tiny_checkpoint(replace(XL_CONFIG, vae=replace(KL, needs_fp32=True))), two_text_encoders()
    folder = diffusers_folder(tmp_path / "xl", written)
    for name, weights in zip(("text_encoder", "text_encoder_2"), texts, strict=True):
        (folder / name).mkdir()
        save_file({key: value.contiguous() for key, value in weights.items()}, folder / name / "model.safetensors")
    read = read_checkpoint(folder)
    assert read.config == written.config
    assert_same_prompt(read.empty_prompt, encode_empty_prompt(texts, 2 * TEXT_WIDTH))


def test_a_folder_whose_unet_is_told_something_else_is_refused(tmp_path: Path):
    folder = diffusers_folder(tmp_path / "xl", tiny_checkpoint(XL_CONFIG))
    path = folder / "unet" / "config.json"
    path.write_text(path.read_text().replace('"text_time"', '"text_image"'))
    refuses(folder, "a UNet may be told text_time of width 256 besides, got text_image of width 256.")


def test_a_diffusers_folder_without_a_scheduler_is_refused(tmp_path: Path, base: Checkpoint):
    folder = diffusers_folder(tmp_path / "sd", base)
    (folder / "scheduler" / "scheduler_config.json").unlink()
    sentence = "a diffusers folder must hold scheduler/scheduler_config.json, got none at"
    refuses(folder, sentence, error=FileNotFoundError)


def test_a_configuration_that_is_not_json_is_refused(tmp_path: Path, base: Checkpoint):
    folder = diffusers_folder(tmp_path / "sd", base)
    (folder / "vae" / "config.json").write_text("<html>")
    refuses(folder, "config.json must be JSON, but")
    (folder / "vae" / "config.json").write_text("[]")
    refuses(folder, "config.json must hold a JSON object, but")


@pytest.mark.full
@pytest.mark.parametrize("config", [SD15_INPAINT, SD2_INPAINT], ids=["sd15", "sd2"])
def test_full_size_weights_through_every_route(tmp_path: Path, config: ModelConfig):
    unet = random_weights({ours: slot.shape for ours, slot in unet_layout(config.unet).items()})
    vae = random_weights({ours: slot.shape for ours, slot in vae_layout(config.vae).items()})
    prompt = Prompt(torch.rand(1, LENGTH, config.unet.context_dim))
    path = tmp_path / "a.safetensors"

    write_checkpoint(path, Checkpoint(config, unet, vae, prompt))
    ours = read_checkpoint(path)
    assert ours.config == config
    assert_same_prompt(ours.empty_prompt, prompt)
    assert_same(ours.unet, unet)
    assert_same(ours.vae, vae)

    tensors = {key: value for key, value in load_file(path).items() if key != checkpoints.PROMPT}
    names, layers = {768: ("cond_stage_model.transformer.", 12), 1024: ("cond_stage_model.model.", 24)}[
        config.unet.context_dim
    ]
    tensors |= {names + key: value for key, value in clip_weights(config.unet.context_dim, layers).items()}
    save_file(tensors, path)
    published = read_checkpoint(path)
    assert published.config == config and published.empty_prompt.tokens.shape == prompt.tokens.shape
    assert_same(published.unet, unet)
    assert_same(published.vae, vae)

    torch.save({f"module.{key}": value for key, value in unet.items()}, tmp_path / "model_0.bin")
    assert_same(read_checkpoint(tmp_path / "model_0.bin", ours).unet, unet)
