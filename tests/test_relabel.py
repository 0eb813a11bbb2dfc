"""What a file says of itself can be changed, and its weights stay bit for bit."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import TINY, tiny_checkpoint, tiny_config

from inpainting_core.checkpoint import read_checkpoint, write_checkpoint
from training import relabel


def test_only_what_was_asked_for_changes(tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    config = replace(tiny_config(vae=TINY), under_hole="continued", texture="borrowed", draws=4, training={"stage": 3})
    write_checkpoint(path, tiny_checkpoint(config))
    before = load_file(path)
    relabel.main(relabel.parse_args([str(path), "--texture", "copied"]))
    after = load_file(path)
    assert read_checkpoint(path).config == replace(config, texture="copied")
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert {value.dtype for value in after.values()} == {value.dtype for value in before.values()}
    assert capsys.readouterr().out == f"{path}: texture borrowed -> copied\n"
    relabel.main(relabel.parse_args([str(path), "--draws", "2"]))
    assert read_checkpoint(path).config == replace(config, texture="copied", draws=2)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_strangers_file_is_left_alone(tmp_path):
    path = tmp_path / "theirs.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    written = path.read_bytes()
    with pytest.raises(SystemExit, match="theirs.safetensors does not say what it holds"):
        relabel.main(relabel.parse_args([str(path), "--draws", "2"]))
    assert path.read_bytes() == written
