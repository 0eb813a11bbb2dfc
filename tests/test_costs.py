"""The benchmarks of time and memory, on networks that are tiny and numbers that are known."""

from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks import against_attentive_eraser as peer
from benchmarks.erasing_memory import needs_of
from benchmarks.large_in_the_nodes import added
from benchmarks.random_engine import TINY, random_engine
from benchmarks.training_parts import counting
from inpainting_core.engine import DiffusersEngine


def test_a_methods_whole_is_its_steps_and_the_autoencoders_calls():
    seconds = {"encode": [1.0, 2.0], "decode": [2.0, 2.0], "EraDiff": [0.5, 1.0], "AttentiveEraser": [1.0, 3.0]}
    assert peer.wholes(seconds, whole=False) == {"EraDiff": [9.0, 16.0], "AttentiveEraser": [43.0, 124.0]}
    assert peer.wholes(seconds, whole=True) == {"EraDiff": [3.5, 5.0], "AttentiveEraser": [4.0, 7.0]}
    assert [row[3].median for row in peer.table(seconds, whole=False)] == [2.5, (43 / 9 + 124 / 16) / 2]


def watched(engine: DiffusersEngine, batches: list[int]) -> DiffusersEngine:
    engine.unet.conv_in.register_forward_pre_hook(lambda _, given: batches.append(len(given[0])))
    return engine


@torch.inference_mode()
def test_both_methods_walk_one_step_of_the_same_network_one_of_them_in_two_branches():
    batches = []
    with patch.object(peer, "random_engine", lambda *given, **named: watched(random_engine(*given, **named), batches)):
        ways = peer.ways_of(TINY, 64, whole=False)
    assert all(ways[name]().isfinite().all() for name in ("EraDiff", "AttentiveEraser"))
    assert batches == [1, 2]


def test_an_erasures_memory_is_its_weights_and_what_an_operation_takes_and_a_little_more():
    weights, found = needs_of(TINY, 64, torch.float32)
    engine = random_engine(TINY)
    held = sum(w.nbytes for part in (engine.unet, engine.vae) for w in part.state_dict().values())
    assert weights == held
    assert all(weights + largest <= most <= weights + 4 * largest for largest, most in found.values())
    one, two = (found[name][0] for name in ("encode, YOEO (one picture)", "encode, EraDiff (two)"))
    assert two == 2 * one


def test_a_trainings_parts_are_counted_once_and_its_classes_are_left_as_they_were():
    network = nn.Sequential(nn.Linear(400, 400), nn.Linear(400, 400))
    optimizer = torch.optim.AdamW(network.parameters())
    before = nn.Module.__call__, torch.optim.AdamW.step, torch.autograd.backward
    with counting() as parts:
        for batch in DataLoader(torch.randn(200, 400), batch_size=100):
            network(batch).sum().backward()
            optimizer.step()
        shares = parts.shares()
    assert (nn.Module.__call__, torch.optim.AdamW.step, torch.autograd.backward) == before
    del shares["seconds a step"]
    assert sum(shares.values()) == pytest.approx(1) and all(share > 0 for share in shares.values())


def test_what_a_large_picture_adds_is_beyond_as_many_small_ones_and_their_networks():
    seconds = {"bare": [1.0, 1.0], "512 px": [1.5, 1.5], "ten": [16.0, 18.0]}
    extra, whole, around = added(seconds, "ten", 10)
    assert (extra, whole.median, around.median) == (2.0, 17 / 15, 1.4)
    noisy = {"bare": [1.0, 1.6], "512 px": [1.5, 1.5], "ten": [16.0, 18.0]}
    assert added(noisy, "ten", 10)[2] == "lost in the scatter"
