"""Crop and stitch: never stretched, reflected at the border, bit-exact outside the ring."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import reflect_by_walking

from inpainting_core.crop import (
    Crop,
    _reflected,
    crop_mask,
    crop_picture,
    plan_crop,
    resize,
    stitch,
    stitch_into,
    window,
    work_shapes,
)


@st.composite
def boxes(draw):
    height, width = draw(st.integers(16, 3000)), draw(st.integers(16, 3000))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return (top, left, draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))), (height, width)


@settings(max_examples=150, deadline=None)
@given(boxes(), st.sampled_from([64, 192, 512]))
def test_a_crop_holds_its_box_and_is_never_stretched(box_and_size, resolution):
    box, size = box_and_size
    crop = plan_crop(box, size, resolution)
    assert crop.top <= box[0] and box[2] <= crop.top + crop.height
    assert crop.left <= box[1] and box[3] <= crop.left + crop.width
    assert crop.height * crop.work_width == crop.width * crop.work_height
    assert crop.work_height % 64 == 0 and crop.work_width % 64 == 0
    assert crop.work_height * crop.work_width <= resolution**2


def test_a_small_hole_in_a_large_picture_is_worked_on_at_native_size():
    crop = plan_crop((900, 1400, 960, 1490), (2000, 3000), 512)
    assert (crop.height, crop.width) == (crop.work_height, crop.work_width)


def test_a_crop_that_fits_stays_inside_the_picture():
    for top, left in ((0, 0), (0, 2900), (1940, 0), (1940, 2900)):
        crop = plan_crop((top, left, top + 60, left + 100), (2000, 3000), 512)
        assert 0 <= crop.top <= 2000 - crop.height and 0 <= crop.left <= 3000 - crop.width


def test_of_crops_that_show_the_same_of_a_picture_the_smallest_is_taken():
    crop = plan_crop((230, 4, 242, 140), (250, 156), 128)
    assert (crop.height, crop.width) == (64, 192), "one of 64 x 256 shows no more of a picture 156 wide"


def test_a_crop_moves_with_its_picture():
    assert Crop(7, 5, 16, 20, 64, 80).moved(3, 1) == Crop(10, 6, 16, 20, 64, 80)


def test_a_wide_hole_gets_a_wide_crop():
    crop = plan_crop((100, 0, 300, 1000), (1000, 1000), 512)
    assert (crop.work_height, crop.work_width) == (256, 1024)


def test_of_crops_that_show_a_box_equally_well_the_widest_is_taken():
    crop = plan_crop((338, 483, 442, 574), (886, 716), 256)
    assert (crop.work_height, crop.work_width) == (128, 512), "a square of 256 holds it and shows as many pixels"


def test_of_crops_at_the_same_scale_the_one_with_the_most_of_the_picture_is_taken():
    crop = plan_crop((349, 91, 369, 96), (373, 103), 128)
    assert (crop.height, crop.width) == (208, 52), "a wide one would mostly lie beyond this narrow picture"


def test_work_shapes_keep_the_area_and_a_sane_aspect():
    shapes = work_shapes(512)
    assert (512, 512) in shapes and (256, 1024) in shapes and (192, 960) not in shapes and (128, 2048) not in shapes


def test_a_resolution_below_the_grid_is_refused():
    with pytest.raises(ValueError, match="resolution must be at least 64 px, got 32."):
        plan_crop((0, 0, 4, 4), (64, 64), 32)


@given(st.integers(-300, 300), st.integers(1, 200), st.integers(1, 60))
def test_reflection_equals_a_walk_between_mirrors(start, length, available):
    expected = reflect_by_walking(start, length, available) if available > 1 else [0] * length
    assert _reflected(start, length, available).tolist() == expected


def test_stitch_is_the_inverse_of_crop_at_native_size():
    image = torch.rand(1, 3, 70, 90)
    crop = Crop(-13, 20, 128, 128, 128, 128)
    assert torch.equal(stitch(image, crop_picture(image, crop), crop, torch.ones(1, 1, 70, 90)), image)


def test_stitch_brings_a_smooth_picture_back_from_a_reduced_crop():
    ramp = torch.linspace(0.2, 0.8, 300).expand(1, 3, 200, 300)
    crop = Crop(0, 40, 192, 192, 64, 64)
    back = stitch(ramp, crop_picture(ramp, crop), crop, torch.ones(1, 1, 200, 300))
    assert (back - ramp)[..., 12:180, 52:220].abs().max() < 1e-3


def test_the_mask_of_a_reduced_crop_keeps_its_thin_lines():
    mask = torch.zeros(1, 1, 512, 512)
    mask[..., 100, :] = 1
    assert crop_mask(mask, Crop(0, 0, 512, 512, 64, 64)).sum() == 64


def test_what_a_network_makes_of_no_number_stays_inside_the_blend():
    """NaN times a weight of 0 is NaN: the picture must be taken there, not a mean."""
    picture, blend = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    blend[..., 8:16, 8:16] = 1
    stitched = stitch(picture, torch.full((1, 3, 32, 32), torch.nan), Crop(0, 0, 32, 32, 32, 32), blend)
    assert torch.equal(stitched.isnan().all(1, keepdim=True), blend > 0)
    assert torch.equal(stitched.where(blend == 0, 0), picture.where(blend == 0, 0))


@pytest.mark.parametrize("top, left", [(0, 0), (0, 24), (16, 0), (-4, -4), (20, 28), (5, 7)])
def test_of_a_box_that_reaches_beyond_its_crop_what_lies_in_the_crop_is_filled(top: int, left: int):
    picture, crop = torch.zeros(1, 3, 36, 44), Crop(top, left, 16, 16, 16, 16)
    stitch_into(picture, torch.ones(1, 3, 16, 16), crop, torch.ones(1, 1, 36, 44), (0, 0, 36, 44))
    expected = torch.zeros_like(picture)
    expected[..., max(0, top) : top + 16, max(0, left) : left + 16] = 1
    assert torch.equal(picture, expected)


@pytest.mark.parametrize("box", [(2, 7, 30, 40), (9, 5, 21, 23), (6, 11, 15, 31), (10, 3, 35, 19)], ids=str)
def test_of_a_part_of_the_picture_the_same_pixels_are_filled_with_the_same_numbers(box: tuple[int, int, int, int]):
    """``blend`` covers the box alone: a box with four sides of its own must find its place in picture and crop."""
    top, left, bottom, right = box
    crop, fill = Crop(8, 6, 16, 20, 16, 20), torch.rand(1, 3, 16, 20)
    whole, part = torch.zeros(2, 1, 3, 36, 44)
    blend = torch.rand(1, 1, 36, 44)
    stitch_into(part, fill, crop, blend[..., top:bottom, left:right], box)
    stitch_into(whole, fill, crop, blend, (0, 0, 36, 44))
    inside = torch.zeros(36, 44, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    assert torch.equal(part, whole.where(inside, 0))


@pytest.mark.parametrize(
    ("under", "detail", "expected"),
    [(0.5, -0.3, 0.1), (0.5, 0.3, 0.7), (0.5, -0.9, 0), (0.5, 0.9, 1), (-0.7, -0.9, -0.5), (3, 9, 3), (-0.7, -9, -0.7)],
)
def test_detail_is_added_within_0_to_1_or_the_pictures_own_range(under: float, detail: float, expected: float):
    picture, whole = torch.full((1, 3, 16, 16), float(under)), (0, 0, 16, 16)
    added = torch.full((1, 3, 16, 16), float(detail))
    stitch_into(picture, torch.full_like(picture, 0.4), Crop(*whole, 16, 16), torch.ones(1, 1, 16, 16), whole, added)
    assert torch.allclose(picture, torch.full_like(picture, expected))


@pytest.mark.parametrize("top, left, height, width", [(0, 0, 16, 16), (384, 384, 16, 16), (0, 0, 400, 400)])
def test_a_window_inside_the_picture_is_a_view_of_it(top: int, left: int, height: int, width: int):
    picture = torch.rand(1, 3, 400, 400)
    seen = window(picture, Crop(top, left, height, width, 64, 64))
    assert seen.data_ptr() == picture[..., top:, left:].data_ptr() and seen.shape == (1, 3, height, width)


def test_a_window_lies_row_by_row_however_its_picture_does():
    for picture in (torch.rand(1, 3, 40, 1).expand(1, 3, 40, 40), torch.rand(1, 40, 40, 3).movedim(-1, 1)):
        seen = window(picture, Crop(4, 4, 16, 16, 64, 64))
        assert seen.stride(-1) == 1 and torch.equal(seen, picture[..., 4:20, 4:20])


@pytest.mark.parametrize("top, left", [(-1, 20), (385, 20), (20, -1), (20, 385)], ids=str)
def test_a_window_that_leaves_the_picture_on_one_side_is_reflected_there(top: int, left: int):
    picture = torch.rand(1, 1, 400, 400)
    rows, columns = (reflect_by_walking(start, 16, 400) for start in (top, left))
    assert torch.equal(window(picture, Crop(top, left, 16, 16, 64, 64)), picture[..., rows, :][..., columns])


def test_a_window_that_is_longer_than_the_picture_stands_in_its_middle():
    crop = plan_crop((10, 900, 20, 1100), (40, 2000), 512)
    assert crop.height > 40
    assert crop.top == (40 - crop.height) // 2 and 0 <= crop.left <= 2000 - crop.width


def test_the_filter_may_leave_the_pictures_own_range_but_not_0_to_1():
    step = torch.tensor([0.2, 0.8]).repeat_interleave(8).expand(1, 3, 16, 16)
    assert resize(step, 48, 48).max() > 0.81 and resize(step, 48, 48).min() < 0.19
    white = torch.tensor([0.0, 1.0]).repeat_interleave(8).expand(1, 3, 16, 16)
    assert resize(white, 48, 48).max() == 1 and resize(white, 48, 48).min() == 0


def test_a_picture_made_smaller_is_averaged():
    stripes = torch.tensor([1.0, 0, 0, 0]).repeat(16).expand(1, 3, 64, 64)
    assert torch.allclose(resize(stripes, 16, 16)[..., 2:-2], torch.tensor(0.25), atol=0.02)


def test_a_picture_of_the_right_size_is_not_copied():
    picture = torch.rand(1, 3, 16, 24)
    assert resize(picture, 16, 24) is picture


def test_each_picture_of_a_batch_keeps_within_its_own_range():
    step = torch.tensor([0.0, 1.0]).repeat_interleave(8).expand(1, 3, 16, 16)
    resized = resize(torch.cat([step, 3 * step]), 48, 48)
    assert torch.equal(resized, torch.cat([resize(step, 48, 48), resize(3 * step, 48, 48)]))
