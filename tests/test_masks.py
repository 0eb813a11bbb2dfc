"""Masks: shapes in, one convention inside."""

import re

import pytest
import torch
from references import grow_by_loop

from inpainting_core.masks import (
    ROUNDING,
    as_mask,
    as_objects,
    bounding_boxes,
    box_around,
    components,
    dilate,
    feather,
    grow,
    peaks,
    to_grid,
    to_patches,
    to_tokens,
)


@pytest.mark.parametrize("shape", [(20, 30), (1, 20, 30), (1, 1, 20, 30), (3, 20, 30), (3, 1, 20, 30)])
def test_every_comfyui_shape_becomes_one(shape):
    mask = as_mask(torch.ones(shape), 20, 30, frames=3)
    assert mask.shape == (3 if shape[0] == 3 else 1, 1, 20, 30)


def several(*shape: int) -> torch.Tensor:
    """Masks that can be told apart: the k-th has k + 1 columns of hole."""
    masks = torch.zeros(*shape).flatten(0, -3)
    for k, mask in enumerate(masks):
        mask[:, : k + 1] = 1
    return masks.view(shape)


@pytest.mark.parametrize(
    ("shape", "frames", "columns"),
    [
        ((3, 8, 8), 1, [[1, 2, 3]]),
        ((1, 3, 8, 8), 1, [[1, 2, 3]]),
        ((3, 1, 8, 8), 1, [[1, 2, 3]]),
        ((3, 8, 8), 3, [[1], [2], [3]]),
        ((1, 3, 8, 8), 3, [[1], [2], [3]]),
        ((2, 3, 8, 8), 2, [[1, 2, 3], [4, 5, 6]]),
        ((1, 8, 8), 2, [[1]]),
    ],
)
def test_masks_are_told_apart_by_picture_and_object(shape, frames, columns):
    objects = as_objects(several(*shape), 8, 8, frames)
    assert (objects.sum((-2, -1)) / 8).tolist() == columns
    assert torch.equal(as_mask(several(*shape), 8, 8, frames), objects.amax(1, keepdim=True))


def test_masks_of_one_picture_need_no_number_of_pictures():
    assert torch.equal(as_objects(several(3, 8, 8), 8, 8), as_objects(several(3, 8, 8), 8, 8, frames=1))


def test_masks_of_pictures_one_pixel_high_are_told_apart_too():
    assert as_objects(torch.ones(2, 3, 1, 8), 1, 8, frames=2).shape == (2, 3, 1, 8)


def test_the_peak_of_each_mask_is_its_own():
    masks = several(2, 3, 8, 6) * torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])[..., None, None]
    assert torch.equal(peaks(masks, 2), torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]))


def test_as_many_masks_as_fit_no_picture_are_refused():
    with pytest.raises(ValueError, match=re.escape("mask must come once or once per picture (2), got 3 masks.")):
        as_mask(torch.ones(3, 8, 8), 8, 8, frames=2)


def test_half_is_hole_and_jpeg_grey_is_not():
    assert as_mask(torch.tensor([[0.0, 0.49, 0.5, 1.0]]), 1, 4).flatten().tolist() == [0, 0, 1, 1]


def test_what_a_resize_rounds_beyond_0_and_1_is_taken():
    mask = torch.tensor([[-ROUNDING, 0.2, 0.7, 1 + ROUNDING]], dtype=torch.float64)
    assert as_mask(mask, 1, 4).flatten().tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (torch.ones(8), "mask must have the shape [h, w], [n, h, w] or [b, n, h, w], got [8]."),
        (torch.ones(1, 1, 1, 8, 8), "mask must have the shape [h, w], [n, h, w] or [b, n, h, w], got [1, 1, 1, 8, 8]."),
        (torch.ones(0, 8, 8), "mask must have the shape [h, w], [n, h, w] or [b, n, h, w], got [0, 8, 8]."),
        (torch.ones(2, 3, 8, 8), "mask must come once or once per picture (1), got 2 times 3."),
        (torch.ones(8, 8) * 255, "mask must hold numbers from 0 to 1, got 255.0 to 255.0."),
        (torch.eye(8) * 1.5, "mask must hold numbers from 0 to 1, got 0.0 to 1.5."),
        (torch.eye(8) - 0.5, "mask must hold numbers from 0 to 1, got -0.5 to 0.5."),
        (torch.full((8, 8), torch.nan), "mask must hold numbers from 0 to 1, got nan to nan."),
        (torch.ones(8, 20), "the picture is 8 x 8, got a mask of 20 x 8."),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_in_one_sentence(mask, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        as_mask(mask, 8, 8)


def test_another_size_of_the_same_aspect_is_resized():
    mask = torch.zeros(50, 75)
    mask[10:20, 15:30] = 1
    resized = as_mask(mask, 100, 150)
    assert resized[0, 0, 20:40, 30:60].all() and resized.sum() == 20 * 30


def test_made_smaller_a_pixel_is_hole_from_half_of_it_on_and_a_thin_line_is_none():
    half, line = torch.zeros(2, 8, 8)
    half[:, :3] = 1  # the filter's weights for the second pixel: 1/8, 3/8, 3/8, 1/8
    line[3:5] = 1
    assert as_mask(half, 4, 4)[0, 0, 1].tolist() == [1, 1, 0, 0]
    assert not as_mask(line, 1, 1).any()


def test_rounding_of_an_odd_size_by_a_pixel_is_the_same_aspect():
    mask = torch.zeros(361, 540)
    mask[100:200, 100:200] = 1
    assert as_mask(mask, 721, 1080).any()
    assert as_mask(torch.ones(7, 8), 8, 8).all(), "a whole pixel, and no more"


def test_comfyuis_small_black_mask_fits_every_picture():
    assert as_mask(torch.zeros(1, 64, 64), 30, 200).shape == (1, 1, 30, 200)


@pytest.mark.parametrize("radius", [0, 1, 1.5, 3, 4.2])
def test_grow_is_euclidean(radius):
    mask = (torch.rand(14, 17, generator=torch.Generator().manual_seed(1)) > 0.96).float()
    assert torch.equal(grow(mask[None, None], radius)[0, 0], grow_by_loop(mask, radius))


@pytest.mark.parametrize("px", [0, 1, 8, 24])
def test_dilate_reaches_as_a_square_does(px):
    mask = (torch.rand(2, 1, 40, 33, generator=torch.Generator().manual_seed(2)) > 0.99).float()
    assert torch.equal(dilate(mask, px), torch.nn.functional.max_pool2d(mask, 2 * px + 1, 1, px))


def test_feather_is_one_in_the_hole_falls_outwards_and_ends_with_the_ring():
    mask = torch.zeros(1, 1, 21, 21)
    mask[..., 10, 10] = 1
    weight = feather(mask, 4)
    row = weight[0, 0, 10, 10:]
    assert torch.allclose(row[:5], torch.tensor([1, 0.8, 0.6, 0.4, 0.2])) and (row[5:] == 0).all()
    assert torch.equal(weight > 0, grow(mask, 4) > 0)
    assert torch.allclose(feather(mask, 3)[0, 0, 10, 10:15], torch.tensor([1, 0.75, 0.5, 0.25, 0]))


def test_an_empty_mask_stays_empty_when_grown():
    assert not grow(torch.zeros(1, 1, 9, 9), 5).any()


def test_a_touched_cell_is_hole():
    mask = torch.zeros(1, 1, 64, 96)
    mask[..., 17, 95] = 1
    assert to_grid(mask, 8, 12).nonzero().tolist() == [[0, 0, 2, 11]]
    assert to_tokens(mask, 4, 6).nonzero().tolist() == [[0, 1 * 6 + 5]]


def test_components_touch_by_corners_too_and_have_boxes():
    mask = torch.zeros(1, 1, 10, 10)
    mask[..., 1, 1] = mask[..., 2, 2] = mask[..., 7:9, 5:8] = 1
    labels = components(mask)
    assert labels.max() == 2
    assert bounding_boxes(labels) == [(1, 1, 3, 3), (7, 5, 9, 8)]


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_a_patch_is_hole_where_any_of_its_cells_is_the_last_ones_too(patch: int):
    mask = (torch.rand(2, 1, 5, 7, generator=torch.Generator().manual_seed(0)) > 0.8).float()
    rows, columns = -(-5 // patch), -(-7 // patch)
    walked = [
        [
            bool(one[0, y * patch : (y + 1) * patch, x * patch : (x + 1) * patch].any())
            for y in range(rows)
            for x in range(columns)
        ]
        for one in mask
    ]
    assert to_patches(mask, patch).tolist() == walked


@pytest.mark.parametrize("seed", range(20))
def test_the_box_around_a_hole_just_holds_it(seed):
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.rand(1, 1, 9, 13, generator=generator) < 0.04).float() * torch.rand(1, 1, 9, 13, generator=generator)
    pixels = mask[0, 0].nonzero().tolist() or [[0, 0]]
    rows, columns = zip(*pixels, strict=True)
    assert box_around(mask) == (min(rows), min(columns), max(rows) + 1, max(columns) + 1)


def test_a_hole_at_each_end_of_a_picture_has_a_box_of_its_own():
    for y, x in ((0, 0), (0, 12), (8, 0), (8, 12)):
        mask = torch.zeros(1, 1, 9, 13)
        mask[..., y, x] = 1
        assert box_around(mask) == (y, x, y + 1, x + 1)
    assert box_around(torch.ones(1, 1, 9, 13)) == (0, 0, 9, 13) and box_around(torch.zeros(1, 1, 9, 13)) == (0, 0, 1, 1)
