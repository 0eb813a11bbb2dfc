"""The command that makes the built-in nano: every stage from the one before, and again where it was stopped."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_checkpoint
from training_runs import ROOT, assert_equal, draw_photographs

from inpainting_core.built_in import BUILT_IN, NANO
from inpainting_core.checkpoint import read_checkpoint, write_checkpoint
from training import nano
from training.networks.bases import load_networks, save_networks
from training.running.precision import told_of_half


def run(argv: list[str]) -> str:
    """What the command prints; in a process of its own, for accelerate keeps one precision a process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "training.nano", *argv]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("size", nano.SIZES)
def test_the_stages_follow_one_another(tmp_path, size):
    (tmp_path / "photos").mkdir()
    photos, out = draw_photographs(tmp_path / "photos"), tmp_path / "out"
    argv = ["--images", str(photos), "--out", str(out), "--size", size, *"--share 0.0003 --workers 0".split()]
    # the nano as it was made, where this machine is quick at that
    made_so = size == "nano" and not told_of_half("cpu", torch.bfloat16, "no")
    argv += ["--resolution", "64", "--mixed-precision", "bf16" if made_so else "no"]
    assert "stage3: " in run(argv)
    facts = json.loads((out / "stage3" / "held_out.json").read_text())
    stages = []
    while facts.get("stage"):
        stages.append(facts["stage"])
        facts = facts.get("before", {})
    assert stages == ["yoeo_stage3", "yoeo_stage2", "yoeo_stage1", "yoeo_stage1", "yoeo_stage1"]
    made = out / "stage3" / "model.safetensors"
    assert made.stat().st_size < 30 * 2**20

    written = {stage: load_file(out / stage / "model.safetensors") for stage in nano.SIZES[size]}
    if size == "nano":  # a second run finds each stage done
        run(argv)
        assert_equal(written, {stage: load_file(out / stage / "model.safetensors") for stage in nano.SIZES[size]})


def test_a_small_one_is_wider_and_takes_the_nanos_autoencoder(tmp_path):
    vae, nano_file = str(BUILT_IN[NANO]), read_checkpoint(BUILT_IN[NANO])
    networks = load_networks("small", vae)
    assert networks.config.resolution == 256 and networks.config.vae == nano_file.config.vae
    assert all(torch.equal(value, networks.vae.state_dict()[name]) for name, value in nano_file.vae.items())
    save_networks(tmp_path / "small.safetensors", networks, networks.unet, networks.config, {}, torch.float16)
    assert (tmp_path / "small.safetensors").stat().st_size <= 30e6
    with pytest.raises(ValueError, match="needs --vae"):
        load_networks("small")


def test_fresh_weights_take_no_other_autoencoder(tmp_path):
    write_checkpoint(tmp_path / "kl.safetensors", tiny_checkpoint(), torch.float16)
    with pytest.raises(ValueError, match="of kind tiny, got kl in "):
        load_networks("small", str(tmp_path / "kl.safetensors"))
