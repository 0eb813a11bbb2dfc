"""A UNet by itself, in every form, laid over its base."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_files import CONFIG, XL_CONFIG, assert_same, diffusers_folder, refuses
from peft import LoraConfig
from safetensors.torch import save_file
from tiny import tiny_checkpoint

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


# of neighbours that stand on SDXL-Inpaint


@pytest.fixture(scope="module")
def sdxl() -> Checkpoint:
    return tiny_checkpoint(XL_CONFIG)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_rorems_unet_is_laid_over_an_sdxl_inpaint(tmp_path: Path, sdxl: Checkpoint, dtype: torch.dtype):
    """Published as a diffusers UNet, a folder whose file may be taken out of it and renamed."""
    other = {key: value.to(dtype) for key, value in tiny_checkpoint(XL_CONFIG, seed=1).unet.items()}
    folder = diffusers_folder(tmp_path / "RORem", replace(sdxl, unet=other)) / "unet"
    (weights,) = folder.glob("*.safetensors")
    alone = weights.rename(tmp_path / "rorem.safetensors")
    read = read_checkpoint(alone, sdxl)
    assert_same(read.unet, other)
    assert read.config is sdxl.config and read.empty_prompt is sdxl.empty_prompt


def osor(phase: int) -> dict[str, torch.Tensor]:
    """OSOR-SDXL's weights as its authors' scripts save them: the LoRA, the last layer and, later, the alpha head."""
    unet = build_unet(XL_CONFIG.unet)
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_k", "to_q", "to_v", "to_out.0", "conv1"]))
    kept = {f"unet.{key}": value for key, value in unet.state_dict().items() if "lora_" in key or "conv_out" in key}
    return kept | ({"alpha_head.0.weight": torch.zeros(1, 4, 3, 3)} if phase == 2 else {})


def kohyas(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    pairs = {"lora_A.default": "lora_down", "lora_B.default": "lora_up"}
    return {
        f"lora_unet_{key.removeprefix('unet.').split('.lora_')[0].replace('.', '_')}.{name}.weight": value
        for key, value in weights.items()
        for theirs, name in pairs.items()
        if theirs in key
    }


LORAS = {
    "sdxlinpainting_phase1.pth": osor(1),
    "sdxlinpainting_phase2.pth": osor(2),
    "rorem_4s.safetensors": {key.replace(".default", ""): value for key, value in osor(1).items() if "lora_" in key},
    "kohya.safetensors": kohyas(osor(1)),
}


@pytest.mark.parametrize("name", LORAS)
@pytest.mark.parametrize("with_base", [True, False])
def test_a_lora_in_a_unets_place_is_refused_with_what_to_do(tmp_path: Path, sdxl, name: str, with_base: bool):
    path = tmp_path / name
    save_file(LORAS[name], path) if name.endswith(".safetensors") else torch.save(LORAS[name], path)
    with pytest.raises(
        ValueError, match=f"{name} must hold a whole UNet, got a LoRA's part .* with ComfyUI's Load LoRA."
    ):
        read_checkpoint(path, sdxl if with_base else None)


def test_a_unet_without_a_base_is_refused(tmp_path: Path, other_unet):
    save_file(other_unet, tmp_path / "a.safetensors")
    sentence = "a.safetensors holds a UNet only and needs a base checkpoint to be laid over, got none; lay it "
    refuses(tmp_path / "a.safetensors", sentence)
