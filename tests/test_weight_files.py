"""The folder of a network: which of its files is read, and shards as diffusers and transformers write them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_files import (
    TEXT_WIDTH,
    assert_same,
    assert_same_prompt,
    clip_weights,
    diffusers_folder,
    refuses,
    two_text_encoders,
)
from safetensors.torch import load_file, save_file
from tiny import KL, UNET_LIKE_SDXL, tiny_checkpoint, tiny_config

from inpainting_core.checkpoint import Checkpoint, read_checkpoint
from inpainting_core.empty_prompt import encode_empty_prompt
from inpainting_core.engine import build_unet, build_vae
from inpainting_core.weight_files import read_weights

STEM = "diffusion_pytorch_model"
VARIANTS = pytest.mark.parametrize("variant", ["fp32", "ema", "fp16", "bf16", "non_ema", "fp16-fast", "mine"])


def resaved(folder: Path, checkpoint: Checkpoint, **how) -> Path:
    """The folder with its networks saved by diffusers itself in another way."""
    for part, build in (("unet", build_unet), ("vae", build_vae)):
        network = build(getattr(checkpoint.config, part))
        network.load_state_dict(getattr(checkpoint, part))
        (folder / part / f"{STEM}.safetensors").unlink()
        network.save_pretrained(folder / part, **how)
    return folder


@VARIANTS
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
@pytest.mark.parametrize("size", ["10GB", "100KB"], ids=["whole", "shards"])
def test_a_folder_of_variants(tmp_path: Path, base: Checkpoint, variant: str, safe: bool, size: str):
    folder = resaved(
        diffusers_folder(tmp_path / "sd", base), base, variant=variant, safe_serialization=safe, max_shard_size=size
    )
    assert any("-of-" in file.name for file in (folder / "unet").iterdir()) == (size == "100KB")
    read = read_checkpoint(folder)
    assert_same(read.unet, base.unet)
    assert_same(read.vae, base.vae)


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_a_folder_in_shards_and_its_unet_by_itself(tmp_path: Path, base: Checkpoint, other_unet, safe: bool):
    other = replace(base, unet=other_unet)
    folder = resaved(diffusers_folder(tmp_path / "sd", base), other, max_shard_size="100KB", safe_serialization=safe)
    assert_same(read_checkpoint(folder).unet, other_unet)
    assert_same(read_checkpoint(folder / "unet", base).unet, other_unet)


def in_shards(folder: Path, weights: dict[str, torch.Tensor], index: str = "model.safetensors.index.json") -> None:
    folder.mkdir(exist_ok=True)
    names, files = sorted(weights), ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    halves = dict(zip(files, (names[::2], names[1::2]), strict=True))
    for file, half in halves.items():
        save_file({name: weights[name].contiguous() for name in half}, folder / file)
    where = {name: file for file, half in halves.items() for name in half}
    (folder / index).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))


def test_text_encoders_in_shards(tmp_path: Path, base: Checkpoint, known: None):
    folder = diffusers_folder(tmp_path / "sd", base)
    in_shards(folder / "text_encoder", clip_weights())
    assert_same_prompt(read_checkpoint(folder).empty_prompt, encode_empty_prompt([clip_weights()], TEXT_WIDTH))

    folder = diffusers_folder(tmp_path / "xl", tiny_checkpoint(tiny_config(UNET_LIKE_SDXL, KL)))
    for name, weights in zip(("text_encoder", "text_encoder_2"), two_text_encoders(), strict=True):
        in_shards(folder / name, weights)
    expected = encode_empty_prompt(two_text_encoders(), 2 * TEXT_WIDTH)
    assert_same_prompt(read_checkpoint(folder).empty_prompt, expected)


@pytest.mark.parametrize(
    "index", ["model.safetensors.index.json", "model.safetensors.index.fp16.json", "model.safetensors.fp16.index.json"]
)
def test_an_index_is_known_by_its_names_of_today_and_before(tmp_path: Path, index: str):
    in_shards(tmp_path / "a", clip_weights(), index)
    assert_same(read_weights(tmp_path / "a")[0], clip_weights())


PREFERENCE = [
    f"{STEM}.safetensors",
    "model.safetensors",
    f"{STEM}.safetensors.index.json",
    f"{STEM}.bin",
    f"{STEM}.fp32.safetensors",
    f"{STEM}.ema.bin",
    f"{STEM}.fp16.safetensors",
    f"{STEM}.fp16.bin",
    f"{STEM}.bf16.safetensors",
    f"{STEM}.another.safetensors",
    f"{STEM}.mine.safetensors",
    f"{STEM}.non_ema.safetensors",
]


def test_of_several_files_the_preferred_one_is_read(tmp_path: Path):
    for number, name in enumerate(PREFERENCE):
        value = {"a": torch.tensor(float(number))}
        if name.endswith(".json"):
            save_file(value, tmp_path / "part-00001-of-00001.safetensors")
            (tmp_path / name).write_text(json.dumps({"weight_map": {"a": "part-00001-of-00001.safetensors"}}))
        else:
            (torch.save if name.endswith(".bin") else save_file)(value, tmp_path / name)
    for number, name in enumerate(PREFERENCE):
        assert read_weights(tmp_path)[0]["a"] == number
        (tmp_path / name).unlink()


def test_an_index_without_its_shards_gives_way_to_a_variant_that_is_there(tmp_path: Path):
    in_shards(tmp_path / "a", clip_weights())
    for shard in (tmp_path / "a").glob("*-of-*"):
        shard.unlink()
    save_file({key: value.contiguous() for key, value in clip_weights().items()}, tmp_path / "a/model.fp16.safetensors")
    assert_same(read_weights(tmp_path / "a")[0], clip_weights())


def test_a_missing_shard_is_named(tmp_path: Path, base: Checkpoint):
    folder = resaved(diffusers_folder(tmp_path / "sd", base), base, max_shard_size="100KB")
    shard = sorted((folder / "unet").glob("*-of-*"))[1]
    shard.unlink()
    sentence = f"sd/unet lacks {shard.name}, a part of its weights: download it too."
    refuses(folder, sentence, error=FileNotFoundError)


@pytest.mark.parametrize(
    "file", ["../a.safetensors", "/a.safetensors", "b/a.safetensors", "..\\a.safetensors", "..", ""]
)
def test_an_index_never_leads_out_of_its_folder(tmp_path: Path, file: str):
    for place in (tmp_path, tmp_path / "unet", tmp_path / "unet" / "b"):
        place.mkdir(exist_ok=True)
        save_file({"a": torch.zeros(1)}, place / "a.safetensors")
    index = tmp_path / "unet" / f"{STEM}.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": file}}))
    with pytest.raises(ValueError, match=r"index\.json must name files that lie beside it, got "):
        read_weights(tmp_path / "unet")


@pytest.mark.parametrize("told", [{}, {"weight_map": 3}, {"weight_map": {"a": 3}}])
def test_an_index_of_something_else_is_refused(tmp_path: Path, told: object):
    (tmp_path / f"{STEM}.bin.index.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=f"{STEM}.bin.index.json must say in its weight_map which file holds which"):
        read_weights(tmp_path)


def test_a_folder_whose_weights_are_in_another_form_says_what_is_there(tmp_path: Path, base: Checkpoint):
    folder = diffusers_folder(tmp_path / "sd", base)
    file = folder / "unet" / f"{STEM}.safetensors"
    file.rename(folder / "unet" / "diffusion_flax_model.msgpack")
    sentence = "sd/unet must hold its weights in one of diffusion_pytorch_model.safetensors, model.safetensors, "
    sentence += "pytorch_model.bin, in a variant of one or in shards with their index; "
    sentence += "found: config.json, diffusion_flax_model.msgpack."
    refuses(folder, sentence, error=FileNotFoundError)
    shutil.move(
        folder / "unet" / "diffusion_flax_model.msgpack", folder / "unet" / f"{STEM}-00001-of-00002.safetensors"
    )
    sentence = "found: config.json, diffusion_pytorch_model-00001-of-00002.safetensors."
    refuses(folder, sentence, error=FileNotFoundError)


def test_a_folder_without_an_autoencoder_takes_the_bases(tmp_path: Path, base: Checkpoint):
    folder = diffusers_folder(tmp_path / "sd", base)
    shutil.rmtree(folder / "vae")
    assert read_checkpoint(folder).vae is None
    filled = read_checkpoint(folder, base)
    assert filled.vae is base.vae and filled.config == base.config


def test_an_autoencoder_of_another_kind_is_refused(tmp_path: Path, base: Checkpoint):
    folder = diffusers_folder(tmp_path / "sd", base)
    config = json.loads((folder / "vae" / "config.json").read_text()) | {"_class_name": "AsymmetricAutoencoderKL"}
    (folder / "vae" / "config.json").write_text(json.dumps(config))
    refuses(folder, "vae/ must hold an AutoencoderKL or AutoencoderTiny, got an AsymmetricAutoencoderKL.")


def test_what_belongs_to_no_layer_is_left_out_of_a_folder(tmp_path: Path, base: Checkpoint, caplog):
    folder = diffusers_folder(tmp_path / "sd", base)
    for part in ("unet", "vae"):
        file = folder / part / f"{STEM}.safetensors"
        save_file(load_file(file) | {"num_updates": torch.zeros(1)}, file)
    read = read_checkpoint(folder)
    assert_same(read.unet, base.unet)
    assert_same(read.vae, base.vae)
    for part in ("unet", "vae"):
        assert f"sd/{part}: left out 1 keys that belong to no layer, such as num_updates." in caplog.text
