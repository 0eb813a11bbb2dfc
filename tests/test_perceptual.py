"""The weights of a perceptual distance: looked for before anything else, and missed in a sentence."""

import pytest
import torch

from training import train_yoeo_stage2, train_yoeo_stage3
from training.networks.perceptual import trunk_url
from training.running.endings import run_script

NEEDS = {train_yoeo_stage2: ["teacher"], train_yoeo_stage3: ["teacher", "student", "detector", "discriminator"]}


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """An empty folder of weights, and a proxy that nobody is behind."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "hub"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    yield tmp_path / "hub" / "checkpoints"
    torch.hub.set_dir(before)


@pytest.mark.parametrize("script", NEEDS, ids=lambda script: script.__name__.split("_")[-1])
def test_vgg_is_looked_for_before_anything_is_loaded(script, no_network, photos, tmp_path, capsys):
    """What is to be loaded is no checkpoint: it would be refused too."""
    (tmp_path / "base.safetensors").write_bytes(b"no checkpoint")
    argv = [word for name in NEEDS[script] for word in (f"--{name}", str(tmp_path / "base.safetensors"))]
    argv += ["--images", str(photos), "--out", str(tmp_path / "run"), "--perceptual", "lpips_vgg"]
    with pytest.raises(SystemExit) as end:
        run_script(lambda: script.parse_args(argv), script.main)
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert end.value.code == 2 and line.startswith("error: --perceptual lpips_vgg needs vgg16-")
    assert str(no_network) in line and trunk_url("lpips_vgg") in line and "stlpips_alex" in line
