"""YOEO's second and third stage start from what its authors' scripts leave: flat UNets and a discriminator's head."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import TINY, tiny_checkpoint, tiny_config, tiny_detector
from training_runs import assert_equal

from inpainting_core.checkpoint import read_checkpoint, write_checkpoint
from training import train_yoeo_stage2, train_yoeo_stage3
from training.networks.bases import load_networks
from training.networks.discriminators import discriminator_beside, read_discriminator
from yoeo_core.detector import write_detector
from yoeo_core.discriminator import Discriminator

CONFIG = tiny_config(vae=TINY)
SMALL = "--resolution 32 --workers 0 --perceptual stlpips_alex --batch-size 1 --steps 1 --lr 0"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A whole checkpoint in fp16, as a published one."""
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    write_checkpoint(path, tiny_checkpoint(CONFIG, seed=1))
    return path


UNET = tiny_checkpoint(CONFIG, seed=2).unet
STRAYS = {"global_step": 15_000, "num_updates": torch.tensor(7), 3: "three"}
FORMS = {
    "model_0.bin": UNET,
    "counted.bin": UNET | STRAYS,
    "parallel.pth": {f"module.{key}": value for key, value in UNET.items()},
    "deepspeed.pth": {"module": UNET | STRAYS, "step": 3},
    "lightning.bin": {"state_dict": {f"unet.{key}": value for key, value in UNET.items()}, "epoch": 1},
    "model_0.safetensors": UNET,
}


def write(path: Path, stored: dict) -> Path:
    path.parent.mkdir(exist_ok=True)
    save_file(stored, path) if path.suffix == ".safetensors" else torch.save(stored, path)
    return path


@pytest.mark.parametrize("name", FORMS)
def test_a_flat_unet_comes_bit_by_bit_in_fp32(base, tmp_path, name):
    networks = load_networks(str(write(tmp_path / name, FORMS[name])), base=str(base))
    assert_equal(dict(networks.unet.state_dict()), dict(UNET))
    assert networks.empty_prompt.tokens.dtype == torch.float32


def test_a_flat_unet_without_a_base_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="holds a UNet only and needs a base checkpoint"):
        load_networks(str(write(tmp_path / "model_0.bin", UNET)))


def test_both_stages_go_on_from_the_authors_files(base, photos, tmp_path):
    """At a learning rate of 0 nothing moves, so that what comes out is what went in."""
    teacher, detector = write(tmp_path / "sft/model_0.bin", UNET), tmp_path / "detector.safetensors"
    write_detector(detector, tiny_detector())
    common = [
        "--teacher",
        str(teacher),
        "--base",
        str(base),
        "--images",
        str(photos),
        "--unlabelled",
        "drawn",
        *SMALL.split(),
    ]
    train_yoeo_stage2.main(train_yoeo_stage2.parse_args([*common, "--out", str(tmp_path / "stage2")]))
    assert_equal(read_checkpoint(tmp_path / "stage2" / "model.safetensors").unet, dict(UNET))

    head = Discriminator(CONFIG.unet.channels[-1]).head.state_dict()
    student = write(tmp_path / "joint/model_0.bin", tiny_checkpoint(CONFIG, seed=3).unet)
    write(student.with_name("model_1.bin"), dict(head))
    argv = [*common, "--student", str(student), "--detector", str(detector), "--dtype", "fp32", "--without", "d2"]
    train_yoeo_stage3.main(train_yoeo_stage3.parse_args([*argv, "--out", str(tmp_path / "stage3")]))
    assert_equal(read_checkpoint(tmp_path / "stage3" / "model.safetensors").unet, dict(torch.load(student)))
    kept = load_file(tmp_path / "stage3" / "discriminator.safetensors")
    assert_equal(kept, {f"head.{key}": value for key, value in head.items()})


@pytest.mark.parametrize("prefix", ["", "head.", "module.", "module.head.", "discriminator.layers."])
@pytest.mark.parametrize("name", ["discriminator.safetensors", "model_1.bin"])
def test_a_discriminator_is_read_whatever_module_it_lay_in(tmp_path, name, prefix):
    given = Discriminator(8)
    stored = {prefix + key: value for key, value in given.head.state_dict().items()}
    path = write(tmp_path / name, stored if name.endswith(".safetensors") else stored | STRAYS)
    assert discriminator_beside(tmp_path / "model_0.bin") == path
    assert_equal(dict(read_discriminator(path, 8).state_dict()), dict(given.state_dict()))


def test_a_discriminator_that_is_missing_or_of_another_size_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="beside .*model_0.bin: name its file with --discriminator."):
        discriminator_beside(tmp_path / "model_0.bin")
    path = write(tmp_path / "model_1.bin", dict(Discriminator(8).state_dict()))
    with pytest.raises(ValueError, match=r"model_1.bin must hold head.0.weight of shape \(64, 16, 3, 3\)"):
        read_discriminator(path, 16)
