"""The fill's colours meet the picture's along the hole's edge, and nothing else of the fill changes."""

import pytest
import torch
from references import membrane
from torch.nn import functional as F

from eradiff_core.inpainting.colour import match_colour, spread


def hole_in(size: int, *box: int) -> torch.Tensor:
    hole = torch.zeros(1, 1, size, size)
    top, bottom, left, right = box
    hole[..., top:bottom, left:right] = 1
    return hole


def test_a_constant_shift_is_taken_out():
    view, hole = torch.rand(1, 3, 96, 96) * 0.5 + 0.25, hole_in(96, 40, 56, 40, 56)
    shifted = view + torch.tensor([0.1, -0.05, 0.02])[None, :, None, None]
    assert torch.allclose(match_colour(shifted, view, hole), view, atol=1e-5)


def test_a_shift_that_grows_across_the_hole_is_taken_out():
    view, hole = torch.rand(1, 3, 96, 96) * 0.5 + 0.25, hole_in(96, 30, 66, 30, 66)
    shifted = view + torch.linspace(-0.2, 0.2, 96)
    left = (match_colour(shifted, view, hole) - view).abs() * hole
    assert left.max() < 0.02, "a tenth of the shift at most"


def test_a_fill_that_fits_stays_as_it_is_whatever_it_shows():
    view, hole = torch.rand(1, 3, 64, 64), hole_in(64, 20, 40, 20, 40)
    fill = torch.where(hole > 0, torch.rand(1, 3, 64, 64), view)
    assert torch.allclose(match_colour(fill, view, hole), fill, atol=1e-6)


def test_texture_survives():
    ramp = torch.linspace(0, 0.3, 64).expand(1, 3, 64, 64)
    texture = 0.05 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    view, hole = ramp + 0.3, hole_in(64, 20, 44, 20, 44)
    fill = torch.where(hole > 0, view + texture, view) + 0.1
    assert torch.allclose(match_colour(fill, view, hole), fill - 0.1, atol=0.02)


def test_hardly_a_step_is_left_at_the_edge():
    columns = torch.linspace(0, 1, 128)
    view = (0.3 + 0.4 * columns).expand(1, 3, 128, 128)
    hole = hole_in(128, 40, 88, 40, 88)
    wrong = torch.where(F.max_pool2d(hole, 9, 1, 4) > 0, 0.2 + 0.0 * view, view)  # one flat colour, of the wrong tone
    matched = torch.where(hole > 0, match_colour(wrong, view, hole), view)
    steps = torch.cat([(matched[..., 60, 40] - matched[..., 60, 39]), (matched[..., 60, 88] - matched[..., 60, 87])])
    before = (wrong[..., 60, 40] - view[..., 60, 39]).abs().max()
    assert steps.abs().max() < before / 7


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (33, 47)])
def test_what_is_known_stays_and_the_rest_lies_between(shape):
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2, 3, *shape, generator=generator)
    known = (torch.rand(2, 1, *shape, generator=generator) < 0.3).float()
    known[..., 0, 0] = 1
    out = spread(values, known)
    assert torch.equal(out * known, values * known)
    for one, where, given in zip(out, known, values, strict=True):
        there = given[:, where[0] > 0]
        assert (one >= there.amin(1)[:, None, None] - 1e-6).all() and (one <= there.amax(1)[:, None, None] + 1e-6).all()


def test_nothing_known_is_nothing_spread():
    assert not spread(torch.rand(1, 3, 9, 12), torch.zeros(1, 1, 9, 12)).any()


def test_it_hangs_near_where_a_membrane_does():
    size, hole = 48, hole_in(48, 12, 36, 10, 34)
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    values = torch.stack([rows, columns, (3 * rows).sin() * columns])[None]
    slow = membrane(values, 1 - hole)
    assert (spread(values, 1 - hole) - slow).abs().max() < 0.25 * (slow.max() - slow.min())
    assert (spread(values, 1 - hole) - slow).abs().mean() < 0.02 * (slow.max() - slow.min())
