"""What tests of training scripts start from: photographs, and a whole checkpoint of a tiny network."""

from pathlib import Path

import pytest
import torch
from tiny import TINY, tiny_checkpoint, tiny_config

from inpainting_core.checkpoint import write_checkpoint


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    from training_runs import draw_photographs  # brings TensorBoard, which other tests need not wait for

    return draw_photographs(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def base_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    write_checkpoint(path, tiny_checkpoint(tiny_config(vae=TINY, prediction="v_prediction")), torch.float32)
    return path
