"""What a UNet is fed: nothing of the object, in the channels and the order that it was trained with."""

import pytest
import torch

from inpainting_core.exemplar import complete
from inpainting_core.latents import UNDER_HOLE, masked_picture, unet_input
from inpainting_core.membrane import spread


def picture_and_hole() -> tuple[torch.Tensor, torch.Tensor]:
    hole = torch.zeros(1, 1, 40, 56)
    hole[..., 10:30, 12:45] = 1
    return torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(0)), hole


@pytest.mark.parametrize("under_hole", UNDER_HOLE)
def test_the_masked_picture_is_the_picture_and_knows_nothing_of_its_hole(under_hole):
    image, hole = picture_and_hole()
    masked = masked_picture(image, hole, under_hole)
    assert torch.equal(masked * (1 - hole), image * (1 - hole))
    other = torch.where(hole > 0, torch.rand(2, 3, 40, 56), image)
    assert torch.equal(masked_picture(other, hole, under_hole), masked)


def test_the_hole_is_grey_as_stable_diffusion_learned_it():
    image, hole = picture_and_hole()
    assert (masked_picture(image, hole)[hole.expand_as(image) > 0] == 0.5).all()


def test_or_its_surroundings_go_on_in_it():
    image, hole = picture_and_hole()
    inside = hole.expand_as(image) > 0
    assert torch.equal(masked_picture(image, hole, "continued")[inside], spread(image, 1 - hole)[inside])
    ramp = torch.linspace(0.1, 0.9, 56).expand(1, 3, 40, 56)
    assert (masked_picture(ramp, hole, "continued") - ramp).abs().max() < 0.1


def test_or_they_are_copied_for_each_picture_as_if_it_were_alone():
    image, hole = picture_and_hole()
    holes = torch.cat([hole, hole.flip(-1)])
    both = masked_picture(image, holes, "copied")
    for picture, own, made in zip(image.split(1), holes.split(1), both.split(1), strict=True):
        assert torch.equal(made, masked_picture(picture, own, "copied"))
        assert torch.equal(made, complete(picture, own, torch.Generator().manual_seed(0)))
    stripes = torch.tensor([0.2, 0.2, 0.7, 0.9]).tile(14).expand(1, 3, 40, 56)
    assert (masked_picture(stripes, hole, "copied") - stripes).abs().max() < 1e-3


def test_the_nine_channels():
    noisy, mask, masked = torch.full((2, 4, 5, 7), 1.0), torch.full((1, 1, 5, 7), 2.0), torch.full((1, 4, 5, 7), 3.0)
    fed = unet_input(noisy, mask, masked)
    assert fed.shape == (2, 9, 5, 7)
    assert fed[:, :, 0, 0].tolist() == [[1.0] * 4 + [2.0] + [3.0] * 4] * 2
