"""What the memory tables are counted with: known by hand where it can be, and beside the CPU's own book elsewhere."""

import pytest
import torch
from tiny import UNET
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile

from benchmarks.live_memory import LiveMemory, counted_as_on_a_card, lay_out
from benchmarks.training_memory import Need
from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import build_unet, call_unet
from training.running.checkpointing import WAYS, checkpoint_gradients
from training.running.optimisation import ADAM

WEIGHTS = 500 * 500 * 4  # of the layer below, bytes


def layer() -> nn.Linear:
    with torch.device("meta"):
        return nn.Linear(500, 500, bias=False)


def test_a_linear_layers_step_is_four_times_its_weights():
    network = layer()
    with counted_as_on_a_card() as held:
        lay_out(network)
        assert held.now == WEIGHTS
        optimizer = torch.optim.AdamW(network.parameters(), **ADAM)
        network(torch.empty(1, 500)).sum().backward()
        held.most_since()
        optimizer.step()
        # weights, gradients and two moments; the counts of steps are 4 bytes
        assert held.most_since() == pytest.approx(4 * WEIGHTS, abs=100)
        optimizer.zero_grad()
        assert held.now == pytest.approx(3 * WEIGHTS, abs=100)


def test_autocast_is_on_and_its_copies_are_counted():
    """A hundred rows: they are kept in bf16, and so is the copy of the weights while autocast lasts."""
    network = layer()
    with counted_as_on_a_card() as held:
        lay_out(network)
        rows = torch.empty(100, 500)
        before, kept = held.now, 2 * (100 * 500 * 2)  # the rows and what comes out
        with torch.autocast("cpu", torch.bfloat16):
            out = network(rows)
        assert out.dtype == torch.bfloat16
        assert (held.now - before, held.most - before) == (kept, kept + WEIGHTS / 2)


def test_norms_are_kept_in_fp32_as_a_cards_autocast_has_them():
    with counted_as_on_a_card(), torch.autocast("cpu", torch.bfloat16):
        norm = lay_out(nn.GroupNorm(2, 4, device="meta"))
        assert norm(torch.empty(1, 4, 8, 8, dtype=torch.bfloat16)).dtype == torch.float32


def most_in_the_book(function) -> int:
    """The most that torch's own allocator gave out at once while this ran, beyond what was given out before; bytes."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as book:
        function()
    now = most = 0
    for event in book.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def test_a_real_pass_takes_what_was_counted():
    """A UNet's, on the CPU, whose allocator writes down each tensor and what kernels ask of it besides."""
    found = {}
    for way in (None, *WAYS):
        with torch.device("meta"):
            counted, real = build_unet(UNET).train(), build_unet(UNET).train()
        with FakeTensorMode(), LiveMemory() as held:
            one_pass(counted, way)
        found[way] = held.most
        book = most_in_the_book(lambda unet=real, way=way: one_pass(unet, way))
        print(f"checkpointing {way}: counted {held.most / 1e6:.1f} MB, real {book / 1e6:.1f} MB")
        assert 0.95 * book <= held.most <= 1.001 * book, "all but what kernels work in"
    assert found["full"] < 0.9 * found[None] and found["full"] < found["selective"] < found[None]


def one_pass(unet: nn.Module, way: str | None) -> None:
    checkpoint_gradients(way, lay_out(unet))
    with torch.autocast("cpu", torch.bfloat16):
        out = call_unet(unet, torch.empty(16, 9, 16, 16), torch.zeros(1), Prompt(torch.empty(1, 4, 64)))
    out.float().square().mean().backward()


def test_the_largest_batch_is_the_last_that_fits():
    """A pass that is 10 GB and 1 for each sample, the first eight by another rule: at most 12 + b."""
    need = Need(step=int(17e9), passes={1: int(13e9), 8: int(18e9), 16: int(26e9)}, buckets=int(3e9))
    assert need.sample == 1e9
    assert need.batch(24) == 8 + 3  # 21.6 GB
    assert need.batch(24, several=True) == 8  # 18.6 GB
    assert need.batch(20, several=True) == 0, "15 GB do for a pass but not for a step"
    assert need.batch(19) == 6  # 17.1 GB lie on the chord between 1 and 8
    assert need.batch(80) == 8 + 54
