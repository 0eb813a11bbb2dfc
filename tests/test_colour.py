"""The fill's colours meet the picture's along the hole's edge, and nothing else of the fill changes."""

import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from inpainting_core.built_in import EXAMPLES
from inpainting_core.colour import match_colour
from inpainting_core.picture_files import read_picture

PHOTOGRAPHS = [
    read_picture(picture).image[..., top : top + 128, left : left + 128]
    for picture, _ in EXAMPLES.values()
    for top, left in ((280, 20), (20, 20), (200, 300))
]


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
    view, hole = ramp + torch.tensor([0.3, 0.2, 0.25])[None, :, None, None], hole_in(64, 20, 44, 20, 44)
    fill = torch.where(hole > 0, view + texture, view) + 0.1
    assert torch.allclose(match_colour(fill, view, hole), fill - 0.1, atol=0.02)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_hole_in_a_flat_surface_is_filled_with_just_that(level: float):
    view, hole = torch.full((1, 3, 64, 64), level), hole_in(64, 20, 40, 20, 40)
    fill = torch.where(hole > 0, torch.rand(2, 3, 64, 64), view)
    assert torch.equal(match_colour(fill, view, hole), view.expand(2, -1, -1, -1))


def test_a_picture_without_chroma_gets_a_fill_without_and_each_of_a_batch_for_itself():
    view, hole = torch.rand(2, 1, 64, 64).repeat(1, 3, 1, 1), hole_in(64, 20, 40, 20, 40)
    view[1, 0] += 0.1
    fill = torch.where(hole > 0, torch.rand(2, 3, 64, 64), view)
    chroma = (lambda picture: picture.amax(1) - picture.amin(1))(match_colour(fill, view, hole) * hole).amax((1, 2))
    assert chroma[0] == 0 and chroma[1] > 0.1


def test_the_colour_of_what_is_erased_does_not_count_as_chroma():
    view, hole = torch.rand(1, 1, 64, 64).repeat(1, 3, 1, 1), hole_in(64, 20, 40, 20, 40)
    red = torch.where(hole > 0, torch.tensor([1.0, 0, 0])[None, :, None, None], view)
    matched = match_colour(torch.where(hole > 0, torch.rand(1, 3, 64, 64), view), red, hole)
    assert torch.equal(matched[:, 0] * hole[:, 0], matched[:, 2] * hole[:, 0])


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_a_soft_but_true_fill_is_hardly_changed(sigma: float):
    """Photographs, the hole filled with what is there, all of it a little soft: dB lost in the hole, the mean."""
    hole, lost = hole_in(128, 40, 88, 40, 88), []
    for view in PHOTOGRAPHS:
        fill = torch.from_numpy(ndimage.gaussian_filter(view.numpy(), (0, 0, sigma, sigma), mode="mirror"))
        errors = [((one - view) * hole).square().sum() for one in (match_colour(fill, view, hole), fill)]
        lost.append(10 * float((errors[0] / errors[1]).log10()))
    assert sum(lost) / len(lost) < 0.02 and max(lost) < 0.15


def test_a_shift_under_softness_is_still_taken_out():
    view, hole = PHOTOGRAPHS[0] * 0.8 + 0.1, hole_in(128, 40, 88, 40, 88)
    fill = torch.from_numpy(ndimage.gaussian_filter(view.numpy(), (0, 0, 0.7, 0.7), mode="mirror"))
    left = ((match_colour(fill + 0.05, view, hole) - fill) * hole).sum((2, 3)) / hole.sum()
    assert left.abs().max() < 0.003


def test_hardly_a_step_is_left_at_the_edge():
    columns = torch.linspace(0, 1, 128)
    view = (0.3 + 0.4 * columns).expand(1, 3, 128, 128)
    hole = hole_in(128, 40, 88, 40, 88)
    wrong = torch.where(F.max_pool2d(hole, 9, 1, 4) > 0, 0.2 + 0.0 * view, view)  # one flat colour, of the wrong tone
    matched = torch.where(hole > 0, match_colour(wrong, view, hole), view)
    steps = torch.cat([(matched[..., 60, 40] - matched[..., 60, 39]), (matched[..., 60, 88] - matched[..., 60, 87])])
    before = (wrong[..., 60, 40] - view[..., 60, 39]).abs().max()
    assert steps.abs().max() < before / 7
