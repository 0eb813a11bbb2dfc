"""A soft fill borrows the texture around its hole: as strong as it is there, like it, and only what it lacks."""

import pytest
import torch
from references import torus_convolution

from inpainting_core.grain import match_grain
from inpainting_core.texture import TEXTURES, borrow_texture, match_texture, noise_like

SIDE = 128
HOLE = torch.zeros(1, 1, SIDE, SIDE)
HOLE[..., 40:88, 40:88] = 1
INSIDE = (..., slice(44, 84), slice(44, 84))


def normal(seed: int, n: int = 1, channels: int = 3) -> torch.Tensor:
    return torch.randn(n, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def stripes(seed: int) -> torch.Tensor:
    """Noise that is alike along a row and in all channels: brushed metal, of variance 1."""
    pattern = torch.zeros(1, 3, SIDE, SIDE)
    pattern[..., 0, :12] = 1
    return noise_like(pattern, normal(seed, channels=1))


def alike_along(picture: torch.Tensor, dim: int) -> float:
    """Correlation of a pixel with its next neighbour but one."""
    part = picture[INSIDE] - picture[INSIDE].mean()
    last = part.shape[dim]
    return float((part.narrow(dim, 0, last - 2) * part.narrow(dim, 2, last - 2)).mean() / part.square().mean())


def test_noise_like_a_pattern_is_the_plain_convolution_and_of_variance_1():
    generator = torch.Generator().manual_seed(0)
    pattern, noise = (torch.randn(1, channels, 9, 12, generator=generator, dtype=torch.float64) for channels in (3, 1))
    made = noise_like(pattern, noise)
    for channel in range(3):
        literal = torus_convolution(noise[0, 0], pattern[0, channel]) / pattern[0, channel].square().sum().sqrt()
        assert torch.allclose(made[0, channel], literal, atol=1e-12)
    assert noise_like(pattern, torch.randn(400, 1, 9, 12, dtype=torch.float64, generator=generator)).std() == (
        pytest.approx(1, rel=0.02)
    )
    assert noise_like(torch.zeros(1, 3, 9, 12), torch.randn(1, 1, 9, 12)).abs().max() == 0


def test_a_flat_fill_gets_texture_of_the_same_strength_and_direction_inside_the_hole_only():
    view, flat = 0.5 + 0.05 * stripes(0), torch.full((2, 3, SIDE, SIDE), 0.5)
    made = borrow_texture(flat, view, HOLE, normal(1, 2))
    assert torch.equal(made * (1 - HOLE), flat * (1 - HOLE))
    detail = view - torch.nn.functional.avg_pool2d(view, 5, 1, 2)
    assert made[INSIDE].std().item() == pytest.approx(detail[INSIDE].std().item(), rel=0.2)
    assert alike_along(made - flat, -1) > 0.3 > alike_along(made - flat, -2) + 0.2
    assert not torch.equal(made[0], made[1]), "each candidate has texture of its own"
    assert torch.allclose(made[:, 0], made[:, 1], atol=1e-5), "grey texture stays grey"


def test_the_texture_is_as_strong_as_what_is_near():
    rough = torch.linspace(0, 1, SIDE).lt(0.5).float().expand(1, 1, SIDE, SIDE)
    view = 0.5 + (0.02 + 0.06 * rough) * normal(0)
    made = borrow_texture(torch.full((1, 3, SIDE, SIDE), 0.5), view, HOLE, normal(1))
    left, right = made[..., 44:84, 42:52].std().item(), made[..., 44:84, 76:86].std().item()
    assert left > 0.04 and right < 0.6 * left


def test_what_a_fill_has_of_texture_is_not_doubled():
    view, fill = 0.5 + 0.05 * normal(0), 0.5 + 0.05 * normal(2)
    made = borrow_texture(fill, view, HOLE, normal(1))
    assert made[INSIDE].std().item() == pytest.approx(0.05, rel=0.1)
    smooth = torch.linspace(0, 1, SIDE).expand(1, 3, SIDE, SIDE)
    assert torch.allclose(borrow_texture(smooth, smooth, HOLE, normal(1)), smooth, atol=1e-3)


def test_one_hard_edge_is_no_texture():
    edge = torch.linspace(0, 1, SIDE).gt(0.2).float().expand(1, 3, SIDE, SIDE)
    view = edge * 0.8 + 0.1 + 0.005 * normal(0)
    made = borrow_texture(torch.full((1, 3, SIDE, SIDE), 0.9), view, HOLE, normal(1))
    assert made[INSIDE].std().item() < 0.015


def test_nothing_around_adds_nothing():
    fill = torch.rand(1, 3, SIDE, SIDE)
    assert torch.equal(borrow_texture(fill, fill, torch.ones_like(HOLE), normal(1)), fill)


@pytest.mark.parametrize("texture", TEXTURES)
def test_a_model_that_draws_its_own_gets_grain_alone(texture):
    view, fill, noise = 0.5 + 0.05 * stripes(0), torch.full((1, 3, SIDE, SIDE), 0.5), normal(1)
    as_it_is = {"copied": lambda fill, *others: fill}  # which has its texture from elsewhere (``copying``)
    expected = {"own": match_grain, "borrowed": borrow_texture, **as_it_is}[texture](fill, view, HOLE, noise)
    assert torch.equal(match_texture(fill.half(), view, HOLE, noise, texture), expected)
