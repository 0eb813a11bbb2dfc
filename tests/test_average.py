"""The mean of two detectors: weight by weight, and of one network only."""

import json

import pytest
import torch
from safetensors import safe_open
from tiny import tiny_detector

from training import average
from yoeo_core.detector import METADATA, load_detector, write_detector


def written(folder, seed: int, **sizes) -> str:
    path = folder / f"{seed}.safetensors"
    write_detector(path, tiny_detector(seed, **sizes), torch.float32)
    return str(path)


def test_each_weight_is_the_mean(tmp_path):
    one, other, out = written(tmp_path, 1), written(tmp_path, 2), tmp_path / "mean.safetensors"
    average.main(average.parse_args([one, other, "--out", str(out), "--says", "for a test"]))
    parts = [load_detector(path).network.state_dict() for path in (one, other, out)]
    for name, value in parts[2].items():
        expected = (parts[0][name].double() + parts[1][name].double()) / 2
        assert torch.allclose(value.double(), expected, atol=2e-3), name  # it is written in half precision
    with safe_open(out, "pt") as file:
        said = json.loads(file.metadata()[METADATA])["training"]
    assert said["said"] == "for a test" and said["mean of"] == [one, other]


def test_another_network_is_refused(tmp_path):
    one, other, out = written(tmp_path, 1), written(tmp_path, 2, queries=7), tmp_path / "mean.safetensors"
    with pytest.raises(SystemExit, match="2.safetensors holds another network than .*1.safetensors"):
        average.main(average.parse_args([one, other, "--out", str(out)]))
    assert not out.exists()
