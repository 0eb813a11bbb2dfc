"""A UNet by itself, in every form, laid over its base."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_files import CONFIG, assert_same, diffusers_folder, refuses
from safetensors.torch import save_file

from inpainting_core.checkpoint import Checkpoint, read_checkpoint
from inpainting_core.engine import build_unet
from inpainting_core.ldm_keys import unet_layout


@pytest.mark.parametrize("prefix", ["", "module.", "unet.", "_orig_mod.", "module._orig_mod.unet.", "diffusion_model."])
@pytest.mark.parametrize("ending", [".safetensors", ".bin", ".pth", ".pt"])
def test_a_flat_unet_is_laid_over_its_base(tmp_path: Path, base: Checkpoint, other_unet, prefix: str, ending: str):
    tensors, path = {prefix + key: value for key, value in other_unet.items()}, tmp_path / f"model_0{ending}"
    save_file(tensors, path) if ending == ".safetensors" else torch.save(tensors, path)
    read = read_checkpoint(path, base)
    assert_same(read.unet, other_unet)
    assert read.vae is base.vae and read.empty_prompt is base.empty_prompt and read.config is base.config


@pytest.mark.parametrize(
    "wrappers", [["state_dict"], ["model"], ["model", "state_dict"], ["model_state_dict"], ["unet"]]
)
def test_wrappers_are_opened(tmp_path: Path, base: Checkpoint, other_unet, wrappers: list[str]):
    stored = other_unet
    for name in wrappers:
        stored = {name: stored, "step": 3}
    torch.save(stored, tmp_path / "a.pt")
    assert_same(read_checkpoint(tmp_path / "a.pt", base).unet, other_unet)


def test_an_emas_list_is_zipped_with_the_parameters_names(tmp_path: Path, base: Checkpoint, other_unet):
    unet = build_unet(CONFIG.unet)
    unet.load_state_dict(other_unet)
    torch.save({"decay": 0.99, "shadow_params": list(unet.parameters())}, tmp_path / "model_0_ema.pth")
    assert_same(read_checkpoint(tmp_path / "model_0_ema.pth", base).unet, other_unet)


def test_an_emas_list_of_another_length_or_without_a_base_is_refused(tmp_path: Path, base: Checkpoint):
    torch.save({"shadow_params": [torch.zeros(3)] * 5}, tmp_path / "ema.pth")
    refuses(tmp_path / "ema.pth", f"ema.pth must hold its base's {len(base.unet)} weights, got a list of 5.", base)
    refuses(tmp_path / "ema.pth", "holds a list of weights without names and needs a base that names them, got none.")


def test_a_bare_ldm_unet_is_laid_over_its_base(tmp_path: Path, base: Checkpoint, other_unet):
    tensors = {slot.ldm: other_unet[ours] for ours, slot in unet_layout(CONFIG.unet).items()}
    save_file(tensors, tmp_path / "a.safetensors")
    assert_same(read_checkpoint(tmp_path / "a.safetensors", base).unet, other_unet)


def test_a_lone_unet_folder_is_laid_over_its_base(tmp_path: Path, base: Checkpoint, other_unet):
    folder = diffusers_folder(tmp_path / "sd", replace(base, unet=other_unet)) / "unet"
    assert_same(read_checkpoint(folder, base).unet, other_unet)


def test_a_unet_without_a_base_is_refused(tmp_path: Path, other_unet):
    save_file(other_unet, tmp_path / "a.safetensors")
    sentence = "a.safetensors holds a UNet only and needs a base checkpoint to be laid over, got none; lay it "
    refuses(tmp_path / "a.safetensors", sentence)
