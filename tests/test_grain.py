"""A fill gets the grain that it lacks, and no more."""

import pytest
import torch
from scipy import ndimage

from inpainting_core.built_in import EXAMPLES
from inpainting_core.grain import grain_of, match_grain
from inpainting_core.picture_files import read_picture

HOLE = torch.zeros(1, 1, 128, 128)
HOLE[..., 40:88, 40:88] = 1
PHOTOGRAPH = read_picture(EXAMPLES["wren"][0]).image[..., 300:428, 20:148]  # the rock


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


# a soft but true fill

SURFACES = {
    "1/f noise": lambda seed: 0.5 + 0.12 * noise_of(1.0, seed),
    "pink noise": lambda seed: 0.5 + 0.12 * noise_of(0.5, seed),  # whose power goes with 1/f
    "a photograph": lambda seed: PHOTOGRAPH,
}


def noise_of(exponent: float, seed: int) -> torch.Tensor:
    """Noise whose amplitude goes with 1 / frequency to this exponent, of variance 1."""
    across = torch.fft.fftfreq(128)
    frequency = (across[:, None].square() + across.square()).sqrt().clamp(min=1 / 128)
    noise = torch.fft.ifft2(torch.fft.fft2(normal(seed)) / frequency**exponent).real
    return (noise - noise.mean()) / noise.std()


def softened(picture: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(picture.numpy(), (0, 0, sigma, sigma), mode="mirror"))


def cost(match, surface: str, sigma: float) -> float:
    """How many dB a soft but true fill loses in the hole, the mean of four."""
    lost = []
    for seed in range(4):
        view = SURFACES[surface](seed).clamp(0, 1)
        fill = softened(view, sigma)
        errors = [((one - view) * HOLE).square().sum() for one in (match(fill, view, HOLE, normal(9 + seed)), fill)]
        lost.append(10 * float((errors[0] / errors[1]).log10()))
    return sum(lost) / 4


@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.0])
@pytest.mark.parametrize(("surface", "most"), [("1/f noise", 0.3), ("pink noise", 2.0), ("a photograph", 0.05)])
def test_a_soft_but_true_fill_gets_hardly_any_noise(surface: str, most: float, sigma: float):
    assert cost(match_grain, surface, sigma) <= most


@pytest.mark.parametrize("surface", SURFACES)
def test_a_true_fill_stays_bit_for_bit(surface: str):
    view = SURFACES[surface](0).clamp(0, 1)
    assert torch.equal(match_grain(view, view, HOLE, normal(1)), view)


def test_grain_over_texture_is_told_from_it():
    for sigma in (0.0, 0.02, 0.04):
        view = SURFACES["a photograph"](0) + sigma * normal(3)
        assert grain_of(view, torch.ones_like(HOLE)).mean().item() == pytest.approx(sigma, abs=0.004)


def test_nothing_to_measure_on_adds_nothing():
    fill = torch.rand(1, 3, 128, 128)
    assert torch.equal(match_grain(fill, fill, torch.ones_like(HOLE), normal(1)), fill)
