"""One sentence for each file that is not a checkpoint, or not one that erases."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_files import clip_weights, diffusers_folder, refuses, single_file
from safetensors.torch import load_file, safe_open, save_file
from tiny import UNET, tiny_checkpoint, tiny_config

from inpainting_core.checkpoint import Checkpoint, write_checkpoint

# files that do not fit


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.pop("conv_in.bias"), "a.pt must hold conv_in.bias of shape (32,), but has no such key."),
        (
            lambda t: t.update({"time_embedding.linear_1.weight": torch.zeros(3, 2), "conv_out.bias": torch.zeros(9)}),
            "a.pt must hold time_embedding.linear_1.weight of shape (128, 32), got (3, 2).",
        ),
        (
            lambda t: t.update({"conv_in.bias": torch.zeros(32, dtype=torch.int8)}),
            "a.pt must hold conv_in.bias in floating point, got torch.int8, a form that is not read; "
            "take its fp16 version.",
        ),
        (
            lambda t: t.update({"conv_in.weight": torch.zeros(32, 4, 3, 3)}),
            "a.pt must hold an inpainting UNet of 9 input channels (noisy 4, mask 1, masked picture 4), got one of 4.",
        ),
    ],
    ids=["missing", "misshapen", "whole numbers", "4 channels"],
)
def test_the_first_key_that_does_not_fit_is_named(tmp_path: Path, base: Checkpoint, other_unet, change, sentence: str):
    tensors = dict(other_unet)
    change(tensors)
    torch.save(tensors, tmp_path / "a.pt")
    refuses(tmp_path / "a.pt", sentence, base)


@pytest.mark.parametrize("ours", [True, False])
def test_a_4_channel_single_file_is_refused(tmp_path: Path, known: None, ours: bool):
    path, config = tmp_path / "a.safetensors", tiny_config(replace(UNET, in_channels=4))
    write_checkpoint(path, tiny_checkpoint(config))
    if not ours:
        save_file(load_file(path), path)
    refuses(path, "a.safetensors must hold an inpainting UNet of 9 input channels")


def test_an_autoencoders_missing_key_is_named_as_it_stands_in_the_file(tmp_path: Path, base: Checkpoint, known: None):
    tensors = single_file(base)
    del tensors["first_stage_model.decoder.norm_out.bias"]
    save_file(tensors, tmp_path / "a.safetensors")
    sentence = "a.safetensors must hold first_stage_model.decoder.norm_out.bias of shape (32,), but has no such key."
    refuses(tmp_path / "a.safetensors", sentence)


def test_a_stray_key_in_our_own_file_is_named(tmp_path: Path, base: Checkpoint):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, base)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(load_file(path) | {"stray": torch.zeros(1)}, path, metadata)
    refuses(path, "a.safetensors must hold nothing but its model's weights, got stray too.")


def test_a_text_encoders_missing_key_is_named(tmp_path: Path, base: Checkpoint, known: None):
    text = {"cond_stage_model.model." + key: value for key, value in clip_weights(layers=1).items()}
    save_file(single_file(base) | text, tmp_path / "a.safetensors")
    sentence = "the text encoder must hold encoder.layers.1.layer_norm1.weight, but has no such key."
    refuses(tmp_path / "a.safetensors", sentence)


def test_weights_of_something_else_are_refused(tmp_path: Path):
    save_file({"image_encoder.proj": torch.zeros(1)}, tmp_path / "a.safetensors")
    sentence = "a.safetensors must hold a Stable Diffusion UNet, got weights such as image_encoder.proj; take"
    refuses(tmp_path / "a.safetensors", sentence)


# files that cannot be read


@pytest.mark.parametrize("kept", [0, 5, 100, 5000])
def test_a_truncated_safetensors_file_is_refused(tmp_path: Path, base: Checkpoint, kept: int):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, base)
    path.write_bytes(path.read_bytes()[:kept])
    refuses(path, "a.safetensors must be a ")


@pytest.mark.parametrize("kept", [0, 1, 100, 5000])
def test_a_truncated_pickle_is_refused(tmp_path: Path, base: Checkpoint, kept: int):
    torch.save(base.unet, tmp_path / "a.pth")
    (tmp_path / "a.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:kept])
    refuses(tmp_path / "a.pth", "a.pth must be a ", base)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4265\n"
WRONG_DOWNLOADS = {
    "<!DOCTYPE html><html>": "is a web page, not weights: download the file itself.",
    "\n<html>": "is a web page, not weights: download the file itself.",
    POINTER: "is a Git LFS pointer, not the file that it stands for: download that one.",
    "": "must be a file of weights, got an empty one: download it again.",
}


@pytest.mark.parametrize("ending", [".safetensors", ".ckpt", ".pt"])
@pytest.mark.parametrize(("content", "sentence"), WRONG_DOWNLOADS.items(), ids=["page", "odd page", "pointer", "empty"])
def test_what_a_failed_download_leaves_is_named(tmp_path: Path, content: str, sentence: str, ending: str):
    (tmp_path / f"a{ending}").write_text(content)
    refuses(tmp_path / f"a{ending}", f"a{ending} {sentence}")


def test_a_text_file_is_refused(tmp_path: Path):
    for ending, rule in {".safetensors": "a safetensors file", ".pt": "a whole file written by torch.save"}.items():
        (tmp_path / f"a{ending}").write_text("Access to model x is restricted.")
        refuses(tmp_path / f"a{ending}", f"a{ending} must be {rule}, got one that ")


def test_a_pickle_of_something_else_is_refused(tmp_path: Path):
    torch.save(3, tmp_path / "a.pt")
    refuses(tmp_path / "a.pt", "a.pt must hold tensors by name, got int.")


def test_another_ending_is_refused(tmp_path: Path):
    (tmp_path / "a.gguf").write_text("GGUF")
    read = "('.safetensors', '.sft', '.ckpt', '.pt', '.pth', '.bin')"
    refuses(tmp_path / "a.gguf", f"weights must end in one of {read}, got a.gguf; take another version.")


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path):
    refuses(
        tmp_path / "no.safetensors", "checkpoint must be a file or a folder that exists, got", error=FileNotFoundError
    )
    sentence = f"{tmp_path.name} must hold its weights in one of diffusion_pytorch_model.safetensors, "
    refuses(tmp_path, sentence, error=FileNotFoundError)


def test_a_model_folder_without_a_unet_is_refused(tmp_path: Path, base: Checkpoint):
    folder = diffusers_folder(tmp_path / "sd", base)
    shutil.rmtree(folder / "unet")
    refuses(folder, "sd must hold a folder unet, got scheduler, vae: download that one too.", error=FileNotFoundError)
