"""SRA: gathering the background's keys equals the paper's dense mask, in values and gradients."""

from collections import Counter
from functools import partial

import pytest
import torch
from references import attend_with_dense_mask, attend_with_dense_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from eradiff_core.attention import HARD, MODES, Softness, as_bias, attend, for_each_key, rectifier, split_rows
from inpainting_core.schedule import Schedule


def qkv(b=2, n=15, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(b, 3, n, 8, generator=generator).to(dtype).requires_grad_() for _ in range(3))


HOLES = {
    "none": [[False] * 15] * 2,
    "all": [[True] * 15] * 2,
    "one token": [[False] * 7 + [True] + [False] * 7] * 2,
    "all but one": [[True] * 14 + [False]] * 2,
    "shared": [[i % 3 == 0 for i in range(15)]] * 2,
    "ragged": [[i % 3 == 0 for i in range(15)], [i > 9 for i in range(15)]],
    "ragged with all": [[True] * 15, [i > 9 for i in range(15)]],
    "ragged with none": [[False] * 15, [i > 9 for i in range(15)]],
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
def test_attend_equals_the_dense_mask_in_values_and_gradients(mode, hole):
    hole = torch.tensor(hole)
    fast, slow = qkv(), qkv()
    fast_out, slow_out = attend(*fast, hole, mode), attend_with_dense_mask(*slow, hole, mode)
    weights = torch.randn(fast_out.shape, generator=torch.Generator().manual_seed(1))
    (fast_out * weights).sum().backward()
    (slow_out * weights).sum().backward()
    assert torch.allclose(fast_out, slow_out, atol=1e-5, rtol=0)
    for a, b in zip(fast, slow, strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_bf16_agrees_to_two_digits(mode):
    q, k, v = qkv(dtype=torch.bfloat16)
    hole = torch.tensor(HOLES["ragged"])
    exact = attend_with_dense_mask(*(x.double() for x in (q, k, v)), hole, mode)
    assert torch.allclose(attend(q, k, v, hole, mode).double(), exact, atol=2e-2, rtol=2e-2)


def test_the_paper_s_literal_product_would_favour_blocked_keys():
    """Eq. 11 multiplies the logits by m'; -inf times a negative logit is +inf, which is why keys are left out."""
    assert torch.tensor(-1.0) * -torch.inf == torch.inf


def test_the_hole_never_looks_at_itself():
    q, k, v = (x.detach() for x in qkv(b=1))
    hole = torch.tensor(HOLES["shared"][:1])
    changed = v.clone()
    changed[:, :, hole[0]] += 100
    before, after = attend(q, k, v, hole), attend(q, k, changed, hole)
    assert torch.equal(before[:, :, hole[0]], after[:, :, hole[0]])
    assert not torch.equal(before[:, :, ~hole[0]], after[:, :, ~hole[0]])


def test_the_rectifier_follows_each_layers_grid_and_repeats_for_guidance():
    mask = torch.zeros(1, 1, 8, 12)
    mask[..., 2:5, 3:7] = 1
    q, k, v = qkv(b=2, n=24)
    hole = torch.zeros(4, 6, dtype=torch.bool)
    hole[1:3, 1:4] = True
    expected = attend_with_dense_mask(q, k, v, hole.flatten()[None].expand(2, -1), "rectified")
    made = rectifier(mask, "rectified")(q, k, v, 4, 6, torch.ones(2))
    assert torch.allclose(made, expected, atol=1e-5)


def test_off_needs_no_rectifier_and_unknown_modes_are_refused():
    assert rectifier(torch.zeros(1, 1, 8, 8), "off") is None
    with pytest.raises(ValueError, match="mode must be one of"):
        attend(*qkv(), torch.tensor(HOLES["none"]), "eq10")


def test_tokens_are_split_once_where_all_samples_share_a_hole():
    assert [len(split_rows(torch.tensor(HOLES[name]))) for name in ("none", "shared", "ragged")] == [1, 1, 2]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hole", ["none", "all"])
def test_where_nothing_is_blocked_the_kernel_gets_what_came(mode: str, hole: str):
    given, asked = qkv(), []
    attend(*given, torch.tensor(HOLES[hole]), mode, kernel=lambda *qkv: asked.append(qkv) or qkv[2])
    assert asked == [given]


@pytest.mark.parametrize("softness", [0.0, 0.3])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hole", ["none", "all"])
def test_a_kernel_is_never_asked_about_no_tokens(mode: str, hole: str, softness: float):
    def kernel(*qkv):
        assert all(one.shape[2] == 15 for one in qkv)
        return qkv[2]

    attend(*qkv(), torch.tensor(HOLES[hole]), mode, kernel, softness)


# soft attention

WEIGHTS = {"nearly hard": 1e-6, "half": 0.5, "plain": 1.0, "a sample": [[0.2], [0.9]], "a token": None}


@pytest.mark.parametrize("mode", ["rectified", "strict"])
@pytest.mark.parametrize("softness", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("hole", ["ragged", "ragged with all", "ragged with none"])
def test_soft_attention_equals_the_dense_weights_in_values_and_gradients(mode, softness, hole):
    hole = torch.tensor(HOLES[hole])
    if softness is None:
        softness = torch.rand(2, 15, generator=torch.Generator().manual_seed(2))
    elif isinstance(softness, list):
        softness = torch.tensor(softness)
    dense = torch.as_tensor(softness).expand(2, 15)
    fast, slow = qkv(), qkv()
    fast_out = attend(*fast, hole, mode, softness=softness)
    slow_out = attend_with_dense_weights(*slow, hole, mode, dense)
    assert fast_out.shape == slow_out.shape and torch.allclose(fast_out, slow_out, atol=1e-5, rtol=0)
    weights = torch.randn(fast_out.shape, generator=torch.Generator().manual_seed(1))
    (fast_out * weights).sum().backward()
    (slow_out * weights).sum().backward()
    for a, b in zip(fast, slow, strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-5, rtol=0)


def test_soft_attention_in_bf16_agrees_to_two_digits():
    q, k, v = qkv(dtype=torch.bfloat16)
    hole, weights = torch.tensor(HOLES["ragged"]), torch.rand(2, 15, generator=torch.Generator().manual_seed(2))
    exact = attend_with_dense_weights(*(x.double() for x in (q, k, v)), hole, "rectified", weights.double())
    assert torch.allclose(attend(q, k, v, hole, softness=weights).double(), exact, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("mode", ["rectified", "strict"])
def test_no_softness_is_the_papers_attention_and_full_softness_plain_attention(mode):
    q, k, v = qkv()
    hole = torch.tensor(HOLES["ragged"])
    hard = attend(q, k, v, hole, mode, softness=0.0)
    assert torch.equal(hard, attend(q, k, v, hole, mode))
    assert torch.allclose(attend(q, k, v, hole, mode, softness=torch.zeros(2, 15)), hard, atol=1e-5)
    assert torch.allclose(attend(q, k, v, hole, mode, softness=1.0), attend(q, k, v, hole, "off"), atol=1e-5)


def test_background_looks_at_everything_as_before_however_soft():
    q, k, v = qkv()
    hole = torch.tensor(HOLES["ragged"])
    soft, plain = attend(q, k, v, hole, softness=0.1), attend(q, k, v, hole, "off")
    background = ~hole[:, None, :, None].expand_as(soft)
    assert torch.allclose(soft[background], plain[background], atol=1e-5)
    assert not torch.allclose(soft[~background], plain[~background], atol=1e-2)


def test_no_mask_is_built_and_kernels_get_sizes_that_they_are_fast_at():
    asked = []

    def kernel(*qkv):
        asked.append([tuple(x.shape) for x in qkv])
        return torch.nn.functional.scaled_dot_product_attention(*qkv)

    attend(*qkv(), torch.tensor(HOLES["ragged"]), kernel=kernel, softness=0.3)
    sample = [[(1, 3, 10, 8), (1, 3, 15, 8), (1, 3, 15, 8)], [(1, 3, 5, 16), (1, 3, 15, 16), (1, 3, 15, 16)]]
    assert asked == [sample[0], sample[1], *sample]  # background and hole of each


def test_softness_may_rise_as_the_noise_leaves():
    schedule, mask = Schedule(), torch.zeros(1, 1, 3, 5)
    mask[..., 1:, 2:] = 1
    hole, (q, k, v) = (mask > 0).flatten(1).expand(2, -1), qkv()
    rising, sigma = Softness(0.1, rising=True), schedule.sigmas[[999, 300]]
    weights = (0.1 + 0.9 * schedule.signal[[999, 300]])[:, None]
    assert torch.allclose(rising.at(sigma), weights) and Softness(0.1).at(sigma) == 0.1 and Softness(1.0).at(sigma) == 1
    expected = attend_with_dense_weights(q, k, v, hole, "rectified", weights.expand(2, 15))
    assert torch.allclose(rectifier(mask, "rectified", rising)(q, k, v, 3, 5, sigma), expected, atol=1e-5)
    constant = rectifier(mask, "rectified", Softness(0.1))(q, k, v, 3, 5, sigma)
    assert torch.allclose(constant, attend(q, k, v, hole, softness=0.1), atol=1e-5)
    hard = rectifier(mask, "rectified", HARD)(q, k, v, 3, 5, sigma)
    assert torch.allclose(hard, attend(q, k, v, hole), atol=1e-5)


@pytest.mark.parametrize("least", [-0.1, 1.01, float("nan")])
def test_a_softness_is_a_share(least):
    with pytest.raises(ValueError, match="softness must lie in 0..1"):
        Softness(least)


# by size of the grid


def operations(function) -> Counter:
    """How often each operation is called, and ``largest``, the numbers of the largest tensor that one gives."""

    class Book(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.calls = Counter()

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            result = operation(*args, **(kwargs or {}))
            self.calls[operation._schema.name.removeprefix("aten::")] += 1
            sizes = [one.numel() for one in tree_leaves(result) if isinstance(one, torch.Tensor)]
            self.calls["largest"] = max([self.calls["largest"], *sizes])
            return result

    with Book() as book:
        function()
    return book.calls


def holes_of_two(height, width):
    mask = torch.zeros(2, 1, height, width)
    mask[0, :, 1:3, 1:5], mask[1, :, 2:5, 3:6] = 1, 1
    return mask


@pytest.mark.parametrize("softness", [HARD, Softness(0.2)], ids=["hard", "soft"])
def test_a_small_grid_does_not_pay_for_gathering(softness):
    q, k, v = (x.detach() for x in qkv(b=2, n=64))
    attention = rectifier(holes_of_two(8, 8), "rectified", softness)
    attention(q, k, v, 8, 8, torch.ones(2))  # what is kept for a grid is made once
    calls = operations(lambda: attention(q, k, v, 8, 8, torch.ones(2)))
    assert sum(number for name, number in calls.items() if name.startswith("_scaled_dot_product")) == 1
    assert calls["index_select"] == calls["cat"] == 0
    assert softness != HARD or calls["where"] == 0, "and its mask is made once"


def test_the_tokens_of_a_large_grid_are_split_once():
    q, k, v = (x.detach() for x in qkv(b=2, n=400))
    call = partial(rectifier(holes_of_two(20, 20), "rectified"), q, k, v, 20, 20, torch.ones(2))
    assert [operations(call)["nonzero"] for _ in range(2)] == [4, 0], "background and hole of both, then never again"


@pytest.mark.parametrize("mode", ["rectified", "strict"])
@pytest.mark.parametrize("softness", [HARD, Softness(0.2)], ids=["hard", "soft"])
@pytest.mark.parametrize("few", [0, 64], ids=["gathered", "masked"])
def test_both_ways_equal_the_dense_reference(mode, softness, few, monkeypatch):
    monkeypatch.setattr("eradiff_core.attention.FEW", few)
    mask, (q, k, v) = holes_of_two(6, 8), qkv(b=4, n=48)
    mask[1] = 1  # all hole
    hole = mask.flatten(1).repeat(2, 1) > 0
    made = rectifier(mask, mode, softness)(q, k, v, 6, 8, torch.ones(4))
    dense = (q, k, v, hole, mode, torch.full((4, 48), softness.least))
    expected = attend_with_dense_mask(*dense[:5]) if softness == HARD else attend_with_dense_weights(*dense)
    assert torch.allclose(made, expected, atol=1e-5)


def test_no_allocation_grows_with_the_tokens_squared():
    largest = []
    for side in (32, 64):
        q, k, v = (x.detach() for x in qkv(b=2, n=side**2))
        attention = rectifier(holes_of_two(side, side), "rectified", Softness(0.2))
        call = partial(attention, q, k, v, side, side, torch.ones(2))
        largest.append(operations(call)["largest"])
    assert largest[1] == 4 * largest[0]


@pytest.mark.parametrize("softness", [0.0, 0.3])
@pytest.mark.parametrize("mode", ["rectified", "strict"])
@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
def test_numbers_added_to_the_logits_are_the_same_attention(mode, hole, softness):
    """Where a model has a mask of its own to add; of a blocked pair the bias is minus infinity."""
    hole, (q, k, v) = torch.tensor(hole), qkv()
    bias = as_bias(hole, mode, for_each_key(softness, q))
    masked = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    assert torch.allclose(masked, attend(q, k, v, hole, mode, softness=softness), atol=1e-5, rtol=0)
