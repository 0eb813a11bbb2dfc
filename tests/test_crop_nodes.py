"""Crop Around Mask and Stitch Back as a graph calls them."""

import re

import pytest
import torch
from in_comfyui import nodes
from node_inputs import mask, picture

pytestmark = pytest.mark.usefixtures("in_comfyui")


@pytest.mark.parametrize("size", [(300, 400), (90, 140), (333, 201)])
def test_stitch_is_the_inverse_of_crop(size: tuple[int, int]):
    image, hole = picture(2, *size), mask(1, *size)
    crop, stitch = nodes()["EraseOnceCrop"].execute, nodes()["EraseOnceStitch"].execute
    window, grown, info = crop(image, hole, 4, 0.5, 128).result
    assert window.shape[1] % 64 == window.shape[2] % 64 == 0 and grown.shape[1:] == window.shape[1:3]
    (back,) = stitch(info, torch.ones_like(window)).result
    blend = info.blend[:, 0].expand(2, -1, -1)
    assert torch.equal(back[blend == 0], image[blend == 0])
    assert torch.allclose(back[blend == 1], torch.ones(())) and bool((blend[:, 30:60, 50:80] == 1).all())
    assert stitch(info, torch.ones_like(window[:1]).repeat(1, 2, 2, 1)).result[0].shape == image.shape


def test_crop_and_stitch_refuse_what_does_not_fit():
    crop, stitch = nodes()["EraseOnceCrop"].execute, nodes()["EraseOnceStitch"].execute
    with pytest.raises(ValueError, match="The mask is empty: nothing to crop around. Paint over something"):
        crop(picture(), torch.zeros(1, 64, 64), 4, 0.5, 128)
    window, _, info = crop(picture(2, 300, 400), mask(1, 300, 400), 4, 0.5, 128).result
    with pytest.raises(ValueError, match=r"image must have the crop's aspect ratio \(\d+ x \d+\), got \d+ x 40\."):
        stitch(info, window[:, :40])
    with pytest.raises(ValueError, match=re.escape("image must come once or once per picture (2), got 3 pictures.")):
        stitch(info, torch.cat([window, window[:1]]))


def test_one_picture_takes_several_fills():
    window, _, info = nodes()["EraseOnceCrop"].execute(picture(1, 300, 400), mask(1, 300, 400), 4, 0.5, 128).result
    (back,) = nodes()["EraseOnceStitch"].execute(info, torch.rand(3, *window.shape[1:])).result
    assert back.shape == (3, 300, 400, 3)


def test_crop_and_stitch_keep_the_precision_too():
    image = picture(1, 300, 400).half()
    window, grown, info = nodes()["EraseOnceCrop"].execute(image, mask(1, 300, 400), 4, 0.5, 128).result
    (back,) = nodes()["EraseOnceStitch"].execute(info, torch.rand_like(window.float())).result
    assert window.dtype == grown.dtype == back.dtype == torch.float16
    assert torch.equal(back[info.blend[:, 0] == 0], image[info.blend[:, 0] == 0])


def test_a_crop_shows_no_hidden_colour_and_stitch_brings_the_alpha_back():
    crop, stitch = nodes()["EraseOnceCrop"].execute, nodes()["EraseOnceStitch"].execute
    image = torch.cat([torch.full((1, 90, 140, 3), 0.5), torch.ones(1, 90, 140, 1)], -1)
    image[:, :, 70:] = 0
    window, _, info = crop(image, mask(), 4, 0.5, 64).result
    assert window.shape[-1] == 3 and torch.allclose(window, torch.tensor(0.5))
    (back,) = stitch(info, torch.ones(1, *window.shape[1:3], 4)).result
    assert torch.equal(back[..., 3], image[..., 3]) and (back[:, 30:60, 50:70, :3] == 1).all()


def test_a_crop_keeps_a_picture_beyond_the_range_at_its_level():
    image = torch.full((1, 300, 400, 3), 4.0)
    window, _, info = nodes()["EraseOnceCrop"].execute(image, mask(1, 300, 400), 4, 0.5, 64).result
    assert torch.allclose(window, torch.tensor(4.0))
    assert torch.allclose(nodes()["EraseOnceStitch"].execute(info, window).result[0], image)


def test_several_masks_of_one_picture_are_cropped_around_together():
    both = torch.cat([mask(1, 300, 400, left=20), mask(1, 300, 400, left=90)])
    crop = nodes()["EraseOnceCrop"].execute
    apart, united = (crop(picture(1, 300, 400), masks, 4, 0.5, 128).result for masks in (both, both.amax(0)))
    assert apart[2].crop == united[2].crop and torch.equal(apart[1], united[1])
    assert torch.equal(crop(picture(1, 300, 400), both[None], 4, 0.5, 128).result[1], united[1])
