"""The instrument for what Self-Rectifying Attention costs a step: of one way three times as dear, it says so."""

import argparse

import torch

from benchmarks.random_engine import TINY
from benchmarks.sra_step import attending_every_way, of_layers, step_of, step_unet
from benchmarks.sra_ways import WAYS, plainly

SIDE = 256  # px, so that attention takes long enough for a clock


def thrice(*given) -> torch.Tensor:
    return [plainly(*given) for _ in range(3)][0]


@torch.no_grad()
def test_a_way_three_times_as_dear_is_three_times_as_dear():
    step = step_of(step_unet(TINY.unet, "cpu", torch.float32), TINY.unet, SIDE)
    whole, spent = attending_every_way(step, {"off": plainly, "thrice": thrice}, "cpu")
    assert 2 < spent["thrice"] / spent["off"] < 4.5
    assert sum(spent.values()) < whole


def test_every_way_has_a_turn_in_every_step():
    args = argparse.Namespace(device="cpu", dtype="float32", layers=2, ways=WAYS)
    found = of_layers(TINY, SIDE, 0.3, args)
    assert list(found) == ["off", *WAYS]
    assert found["off"].low == found["off"].high == 1
    assert all(0.2 < found[way].median < 5 for way in WAYS)
