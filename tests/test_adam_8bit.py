"""``--adam-8bit``, which keeps AdamW's moments in a byte each: a run goes much the same way, and resumes to the bit."""

import argparse

import pytest
import torch
from safetensors.torch import load_file
from torch.utils._pytree import tree_leaves
from training_runs import assert_equal, killed_at, state_of

from benchmarks.training_memory import spared
from inpainting_core.built_in import ASSETS
from training import train_yoeo_stage1
from training.running import optimisation
from training.running.optimisation import adamw_of

BASE = ASSETS / "nano_base.safetensors"
FLAGS = f"--base {BASE} --resolution 64 --workers 0 --unlabelled drawn --batch-size 2 --gradient-accumulation 1"


def stage1(photos, out, extra: str) -> dict[str, torch.Tensor]:
    argv = ["--images", str(photos), "--out", str(out), *FLAGS.split(), *extra.split()]
    train_yoeo_stage1.main(train_yoeo_stage1.parse_args(argv))
    return load_file(out / "model.safetensors")


def test_a_run_resumes_to_the_bit_and_its_states_are_small(photos, tmp_path, monkeypatch):
    extra = "--steps 4 --save-every 2 --adam-8bit"
    whole = stage1(photos, tmp_path / "whole", extra)
    with killed_at(monkeypatch, 2):
        stage1(photos, tmp_path / "parts", extra)
    assert_equal(whole, stage1(photos, tmp_path / "parts", extra))
    kept = tree_leaves(state_of(tmp_path / "whole", 4)["optimizer"])
    moments = [value for value in kept if isinstance(value, torch.Tensor) and value.numel() >= 4096]
    assert moments and {moment.dtype for moment in moments} == {torch.uint8}


def test_its_moments_take_what_the_memory_table_says():
    weights = [torch.nn.Parameter(torch.zeros(size)) for size in (4095, 4096, 100_000)]
    held = {}
    for small in (False, True):
        optimizer = adamw_of(weights, argparse.Namespace(lr=1e-3, adam_8bit=small))
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        optimizer.step()
        shared = {"step", "qmap1", "qmap2"}  # a number a weight, and two tables that all share
        found = [one[name] for one in optimizer.state.values() for name in one.keys() - shared]
        held[small] = sum(value.nbytes for value in found)
    assert held[False] - held[True] == spared(weights) > 600_000


def test_a_run_that_was_begun_without_it_is_not_gone_on_with(photos, tmp_path, monkeypatch):
    with killed_at(monkeypatch, 1):
        stage1(photos, tmp_path, "--steps 2 --save-every 1")
    with pytest.raises(ValueError, match="adam_8bit True .was False"):
        stage1(photos, tmp_path, "--steps 2 --save-every 1 --adam-8bit")


@pytest.mark.parametrize("scale", [1.0, 1e-9], ids=["gradients near 1", "tiny gradients"])
def test_weights_go_where_exact_moments_take_them(scale):
    """Blocks of 256, unlike gradients within each, over forty steps; the few that go astray do not go far."""
    ways = []
    for small in (False, True):
        generator = torch.Generator().manual_seed(0)
        weight = torch.nn.Parameter(torch.zeros(64, 256))
        args = argparse.Namespace(lr=1e-3, adam_8bit=small)
        optimizer = adamw_of([weight], args, weight_decay=0.0)
        spread = torch.logspace(-2, 0, 256)
        for _ in range(40):
            weight.grad = scale * spread * (0.3 + torch.randn(64, 256, generator=generator))
            optimizer.step()
        ways.append(weight.detach())
    exact, eight = ways
    assert (eight - exact).norm() < 0.1 * exact.norm()
    assert (eight - exact).abs().max() < exact.abs().max()


def test_without_its_package_it_is_refused_before_anything_is_read(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(optimisation, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install bitsandbytes"):
        stage1(photos, tmp_path / "run", f"--steps 1 --adam-8bit --base {tmp_path}")
    assert not (tmp_path / "run").exists()
