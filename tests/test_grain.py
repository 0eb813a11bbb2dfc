"""A fill gets the grain that it lacks, and no more."""

import pytest
import torch

from inpainting_core.grain import grain_of, match_grain

HOLE = torch.zeros(1, 1, 128, 128)
HOLE[..., 40:88, 40:88] = 1


def normal(seed: int, n: int = 1) -> torch.Tensor:
    return torch.randn(n, 3, 128, 128, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sigma", [0.0, 0.01, 0.1])
def test_the_grain_is_measured_whatever_lies_under_it(sigma):
    ramp = torch.linspace(0, 1, 128).expand(1, 3, 128, 128)
    edges = (ramp > 0.5).float()
    for under in (ramp, edges):
        found = grain_of(under + sigma * normal(0), torch.ones_like(HOLE))
        assert found.flatten().tolist() == pytest.approx([sigma] * 3, rel=0.05, abs=1e-6)


def test_a_clean_fill_gets_the_pictures_grain_inside_the_hole_only():
    view, clean = 0.5 + 0.05 * normal(0), torch.full((2, 3, 128, 128), 0.5)
    matched = match_grain(clean, view, HOLE, normal(1, 2))
    assert torch.equal(matched * (1 - HOLE), clean * (1 - HOLE))
    inside = matched[..., 40:88, 40:88]
    assert inside.std((-2, -1)).flatten().tolist() == pytest.approx([0.05] * 6, rel=0.15)
    assert not torch.equal(matched[0], matched[1]), "each candidate has noise of its own"


def test_half_of_the_grain_is_filled_up_and_not_doubled():
    view, fill = 0.5 + 0.05 * normal(0), 0.5 + 0.03 * normal(2)
    inside = match_grain(fill, view, HOLE, normal(1))[..., 40:88, 40:88]
    assert inside.std().item() == pytest.approx(0.05, rel=0.1)


def test_a_fill_with_the_pictures_grain_or_more_stays():
    view, fill = 0.5 + 0.02 * normal(0), (0.5 + 0.05 * normal(2)).clamp(0, 1)
    assert torch.equal(match_grain(fill, view, HOLE, normal(1)), fill)
    smooth = torch.linspace(0, 1, 128).expand(1, 3, 128, 128)
    assert torch.allclose(match_grain(smooth, smooth, HOLE, normal(1)), smooth, atol=1e-5)


def test_nothing_to_measure_on_adds_nothing():
    fill = torch.rand(1, 3, 128, 128)
    assert torch.equal(match_grain(fill, fill, torch.ones_like(HOLE), normal(1)), fill)
