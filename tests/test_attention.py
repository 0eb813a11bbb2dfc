"""SRA: gathering the background's keys equals the paper's dense mask, in values and gradients."""

import pytest
import torch
from references import attend_with_dense_mask

from eradiff_core.attention import MODES, attend, rectifier


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
    assert torch.allclose(rectifier(mask, "rectified")(q, k, v, 4, 6), expected, atol=1e-5)


def test_off_needs_no_rectifier_and_unknown_modes_are_refused():
    assert rectifier(torch.zeros(1, 1, 8, 8), "off") is None
    with pytest.raises(ValueError, match="mode must be one of"):
        attend(*qkv(), torch.tensor(HOLES["none"]), "eq10")
