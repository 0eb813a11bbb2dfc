"""Load Erase Model as a graph calls it: what it finds, reads and gives on, and its sentence about what it lacks."""

import shutil
from dataclasses import replace

import pytest
import torch
from checkpoint_files import CONFIG, clip_weights, diffusers_folder, single_file
from in_comfyui import comfy, nodes, room
from node_inputs import mask, picture
from safetensors.torch import save_file
from tiny import NANO, TINY, UNET_LIKE_SDXL, tiny_checkpoint, tiny_config

from inpainting_core.checkpoint import write_checkpoint

pytestmark = pytest.mark.usefixtures("in_comfyui")


def loaded_weights(*names: str) -> dict[str, torch.Tensor]:
    return nodes()["EraseOnceLoadModel"].execute(*names).result[0].model.diffusion_model.state_dict()


def test_it_reads_files_and_folders_and_lays_a_unet_over(models):
    load_model = nodes()["EraseOnceLoadModel"]
    checkpoint = tiny_checkpoint(tiny_config(NANO, TINY, "v_prediction"))
    other = tiny_checkpoint(tiny_config(NANO, TINY, "v_prediction"), seed=1)
    write_checkpoint(models / "checkpoints" / "base.safetensors", checkpoint, torch.float32)
    torch.save(other.unet, models / "elsewhere.pth")
    (models / "elsewhere.pth").rename(models / "diffusion_models" / "yoeo.safetensors")
    before = load_model.fingerprint_inputs("base.safetensors", "none")
    model, vae, conditioning = load_model.execute("base.safetensors", "none").result
    weight = model.model.diffusion_model.input_blocks[0][0].weight
    assert torch.equal(weight, checkpoint.unet["conv_in.weight"])
    assert torch.equal(conditioning[0][0], checkpoint.empty_prompt.tokens) and conditioning[0][1] == {}
    assert model.clone().get_attachment("erase_once").resolution == checkpoint.config.resolution
    assert load_model.fingerprint_inputs("base.safetensors", "yoeo.safetensors") != before


def test_it_gives_sdxls_pooled_text_where_comfyui_looks_for_it(models):
    checkpoint = tiny_checkpoint(tiny_config(UNET_LIKE_SDXL, TINY))
    write_checkpoint(models / "checkpoints" / "xl.safetensors", checkpoint, torch.float32)
    loaded = nodes()["EraseOnceLoadModel"].execute("xl.safetensors", "none").result
    ((tokens, extras),) = loaded[2]
    assert torch.equal(tokens, checkpoint.empty_prompt.tokens)
    assert torch.equal(extras["pooled_output"], checkpoint.empty_prompt.pooled)
    image, hole = picture(), mask()
    erased = nodes()["EraseOnceYOEO"].execute(*loaded, image, hole, steps=2, seed=1, grow=3, context=0.5, resolution=0)[
        0
    ]
    assert torch.equal(erased[:, :20], image[:, :20]) and not torch.equal(erased, image)


def test_it_refuses_what_is_incomplete():
    check = room("load").check_complete
    whole = tiny_checkpoint(tiny_config(NANO, TINY))
    with pytest.raises(ValueError, match="a checkpoint must hold an autoencoder, but x has none"):
        check(replace(whole, vae=None), "x")
    with pytest.raises(ValueError, match="a checkpoint must hold a text encoder or an empty prompt of ours"):
        check(replace(whole, empty_prompt=None), "x")


def test_its_sentence_about_a_lacking_part_says_the_way_out(models, known):
    base = tiny_checkpoint(CONFIG)
    text = {f"cond_stage_model.model.{key}": value for key, value in clip_weights().items()}
    save_file(single_file(base) | text, models / "checkpoints" / "base.safetensors")
    for kept, sentence in (
        (single_file(base), "must hold a text encoder or an empty prompt of ours, but a.safetensors has neither: "),
        ({k: v for k, v in single_file(base).items() if "first" not in k} | text, "an autoencoder, but a.safetensors "),
    ):
        file = models / "checkpoints" / "a.safetensors"
        save_file(kept, file)
        with pytest.raises(ValueError, match=sentence) as caught:
            nodes()["EraseOnceLoadModel"].execute("a.safetensors", "none")
        way_out = "move it to models/diffusion_models and choose it as 'unet' over any complete model."
        assert str(caught.value).endswith(way_out)
        file.rename(models / "diffusion_models" / "a.safetensors")
        comfy("folder_paths").filename_list_cache.clear()
        weights = loaded_weights("base.safetensors", "a.safetensors")
        assert torch.equal(weights["input_blocks.0.0.weight"], base.unet["conv_in.weight"])


def test_it_lists_a_folder_by_its_unet_and_says_what_it_lacks(models):
    base = tiny_checkpoint(CONFIG)
    folder = diffusers_folder(models / "elsewhere", base)
    (models / "diffusers" / "mine").symlink_to(folder)
    assert "mine" in room("load").model_names() and "mine/unet" not in room("load").model_names()
    with pytest.raises(ValueError, match="but mine has neither: download its folder text_encoder too."):
        nodes()["EraseOnceLoadModel"].execute("mine", "none")
    shutil.rmtree(folder / "vae")
    with pytest.raises(ValueError, match="but mine has none: download its folder vae too."):
        nodes()["EraseOnceLoadModel"].execute("mine", "none")


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
def test_it_gives_comfyui_exactly_what_fp8_means(models, known, scaled: bool):
    base, layer = tiny_checkpoint(CONFIG), "model.diffusion_model.out.2"
    text = {f"cond_stage_model.model.{key}": value for key, value in clip_weights().items()}
    stored = single_file(base) | text
    stored = {k: v.to(torch.float8_e4m3fn) if k.startswith("model.") and v.ndim > 1 else v for k, v in stored.items()}
    if scaled:
        stored |= {"model.diffusion_model.scaled_fp8": torch.zeros(0).to(torch.float8_e4m3fn)}
        stored |= {f"{layer}.scale_weight": torch.tensor(1.7), f"{layer}.scale_input": torch.ones(())}
    save_file(stored, models / "checkpoints" / "a.safetensors")
    weights = loaded_weights("a.safetensors", "none")
    for key, value in weights.items():
        scale = 1.7 if scaled and f"model.diffusion_model.{key}" == f"{layer}.weight" else 1.0
        assert torch.equal(value.float(), stored[f"model.diffusion_model.{key}"].float() * torch.tensor(scale))
