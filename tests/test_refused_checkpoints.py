"""One sentence for each file that is not a checkpoint, or not one that erases."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_files import clip_weights, refuses, single_file
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
        (lambda t: t.update(extra=torch.zeros(1)), "a.pt must hold nothing but its network's weights, got extra too."),
        (lambda t: t.update(epoch=3), "a.pt must hold nothing but tensors, got epoch of type int."),
        (
            lambda t: t.update({"conv_in.weight": torch.zeros(32, 4, 3, 3)}),
            "a.pt must hold an inpainting UNet of 9 input channels (noisy 4, mask 1, masked picture 4), got one of 4.",
        ),
    ],
    ids=["missing", "misshapen", "unexpected", "no tensor", "4 channels"],
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
    save_file({"lora_unet_down.alpha": torch.zeros(1)}, tmp_path / "a.safetensors")
    sentence = "a.safetensors must hold a Stable Diffusion UNet, got weights such as lora_unet_down.alpha."
    refuses(tmp_path / "a.safetensors", sentence)


# files that cannot be read


class Wanted:
    """Something a pickle may ask for that is no tensor."""


def test_a_pickle_that_needs_more_than_tensors_is_refused_by_name(tmp_path: Path):
    torch.save({"state_dict": {}, "callback": Wanted()}, tmp_path / "a.ckpt")
    refuses(
        tmp_path / "a.ckpt", f"a.ckpt must hold tensors only, but wants to run {Wanted.__module__}.Wanted; refused."
    )


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


def test_a_text_file_named_safetensors_is_refused(tmp_path: Path):
    (tmp_path / "a.safetensors").write_text("<!DOCTYPE html>")
    sentence = "a.safetensors must be a safetensors file, got one that begins with b'<!DOCTYPE'."
    refuses(tmp_path / "a.safetensors", sentence)


def test_a_text_file_named_pt_is_refused(tmp_path: Path):
    (tmp_path / "a.pt").write_text("<!DOCTYPE html>")
    refuses(tmp_path / "a.pt", "a.pt must be a file written by torch.save, got one that does not unpickle.")


def test_a_pickle_of_something_else_is_refused(tmp_path: Path):
    torch.save(3, tmp_path / "a.pt")
    refuses(tmp_path / "a.pt", "a.pt must hold tensors by name, got int.")


def test_another_ending_is_refused(tmp_path: Path):
    (tmp_path / "a.gguf").write_text("GGUF")
    refuses(tmp_path / "a.gguf", "weights must end in one of ('.safetensors', '.sft', '.ckpt', '.pt', '.pth', '.bin')")


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path):
    refuses(
        tmp_path / "no.safetensors", "checkpoint must be a file or a folder that exists, got", error=FileNotFoundError
    )
    refuses(tmp_path, "a diffusers folder must hold unet/ or ", error=FileNotFoundError)
