"""Erasing whatever the method: what is touched, what is not, what is refused."""

import re

import numpy as np
import pytest
import torch

from benchmarks.live_memory import LiveMemory
from inpainting_core.crop import crop_picture
from inpainting_core.erasing import erase_holes
from inpainting_core.masks import grow


def noise_fill(view, hole):
    """A method that changes everything it is shown."""
    return torch.rand(view.shape, generator=torch.Generator().manual_seed(1))


def erase(image, mask, fill=noise_fill, resolution=128, grow_px=5, context=0.5):
    return erase_holes(image, mask, fill, resolution=resolution, grow_px=grow_px, context=context)


def random_case(seed):
    """A picture of 64 to 2000 px a side, 8-bit values half of the time, and a mask of boxes, discs and strokes."""
    rng = np.random.default_rng(seed)
    largest = 2000 if seed % 20 == 0 else 400
    height, width = rng.integers(64, largest + 1, 2)
    image = rng.random((1, 3, height, width), dtype=np.float32)
    image = np.round(image * 255) / np.float32(255) if seed % 2 else image
    mask, (y, x) = np.zeros((height, width), dtype=np.float32), np.ogrid[:height, :width]
    for _ in range(rng.integers(1, 5)):
        cy, cx, r = rng.integers(height), rng.integers(width), rng.integers(1, min(height, width) // 3)
        shapes = [
            (abs(y - cy) <= r) & (abs(x - cx) <= r // 2),
            (y - cy) ** 2 + (x - cx) ** 2 <= r**2,
            (abs(y - cy) <= 2) & (abs(x - cx) <= r),
        ]
        mask[shapes[rng.integers(3)]] = 1
    return torch.from_numpy(image), torch.from_numpy(mask)


def test_every_pixel_outside_the_ring_comes_back_bit_exact():
    """200 random pictures and masks, odd sizes included."""
    odd = 0
    for seed in range(200):
        image, mask = random_case(seed)
        odd += image.shape[-1] % 2
        erased = erase(image, mask)
        differs = (erased.image != image).any(1, keepdim=True)
        assert not (differs & (erased.changed == 0)).any(), f"case {seed}"
        assert differs[0, 0][mask > 0].float().mean() > 0.9, f"case {seed}"
        in_bytes, before = (erased.image * 255).round().byte(), (image * 255).round().byte()
        assert not ((in_bytes != before).any(1, keepdim=True) & (erased.changed == 0)).any(), f"case {seed}"
    assert odd > 50


def test_the_ring_is_as_wide_as_asked():
    mask = torch.zeros(1, 1, 300, 300)
    mask[..., 140:160, 140:160] = 1
    assert torch.equal(erase(torch.rand(1, 3, 300, 300), mask, grow_px=4).changed, grow(mask, 4))


def test_grow_zero_reproduces_the_given_mask():
    mask = torch.zeros(1, 1, 200, 200)
    mask[..., 90:110, 80:120] = 1
    assert torch.equal(erase(torch.rand(1, 3, 200, 200), mask, grow_px=0).changed, mask)


def test_an_empty_mask_gives_the_picture_back_without_any_work():
    image = torch.rand(2, 3, 80, 90)

    def never(view, hole):
        raise AssertionError("nothing is to be filled")

    erased = erase(image, torch.zeros(64, 64), never)
    assert torch.equal(erased.image, image) and erased.crops == () and not erased.changed.any()


def test_one_mask_serves_a_batch_and_each_picture_may_have_its_own():
    image = torch.rand(2, 3, 128, 128)
    left, right = torch.zeros(2, 128, 128)
    left[50:60, 10:20] = 1
    right[50:60, 100:110] = 1
    shared, own = erase(image, left), erase(image, torch.stack([left, right]))
    assert torch.equal(shared.changed[0], shared.changed[1])
    assert own.changed[0, 0, 55, 15] and not own.changed[1, 0, 55, 15] and own.changed[1, 0, 55, 105]


def test_a_far_object_that_still_waits_is_hole_for_the_first():
    """Nothing is painted from an object that is about to go itself."""
    image, mask = torch.rand(1, 3, 128, 400), torch.zeros(128, 400)
    mask[60:70, 30:40] = mask[60:70, 200:210] = 1
    holes = []
    erase(image, mask, lambda view, hole: holes.append(float(hole.sum())) or view, resolution=192, context=0.2)
    assert len(holes) == 2 and holes[0] > holes[1]


@pytest.mark.parametrize(
    ("image", "mask", "sentence"),
    [
        (torch.rand(1, 1, 64, 64), torch.ones(64, 64), "image must have 3 channels (RGB) or 4 (RGB and alpha), got 1."),
        (torch.rand(1, 5, 64, 64), torch.ones(64, 64), "image must have 3 channels (RGB) or 4 (RGB and alpha), got 5."),
        (torch.full((1, 3, 64, 64), torch.nan), torch.ones(64, 64), "image must hold finite numbers only"),
        (torch.rand(1, 3, 64, 64), torch.ones(64, 64), "mask must leave some of the picture to look at"),
        (torch.rand(1, 3, 64, 64), torch.ones(32, 64), "got a mask of 64 x 32. Make the mask from this picture."),
        (torch.rand(1, 3, 64, 96), torch.ones(48, 32), "Turn the mask by 90 degrees: it lies on its side."),
        (torch.rand(2, 3, 64, 64), torch.ones(3, 64, 64), "mask must come once or once per picture (2), got 3 masks."),
    ],
)
def test_bad_input_is_refused_before_any_work(image, mask, sentence):
    def never(view, hole):
        raise AssertionError("refuse first")

    with pytest.raises(ValueError, match=re.escape(sentence)):
        erase(image, mask, never)


def box_mask(size, *boxes):
    masks = torch.zeros(len(boxes), size, size)
    for mask, (top, bottom, left, right) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = 1
    return masks


def test_a_batch_of_masks_for_one_picture_is_as_many_objects_each_in_its_own_crop():
    near = box_mask(400, (100, 140, 100, 140), (100, 140, 150, 190))
    image, seen = torch.rand(1, 3, 400, 400), []

    def fill(view, hole):
        seen.append(hole.mean())
        return torch.full_like(view, 0.5)

    assert len(erase(image, near.amax(0), fill).crops) == 1
    erased = erase(image, near, fill)
    assert len(erased.crops) == 2 and erased.tries == (1, 1)
    assert torch.equal(erased.changed[0, 0] > 0, grow(near[:, None], 5).amax(0)[0] > 0)
    assert seen[1] > seen[2], "while the first is erased the second is hole as well; then the first is done"


def test_overlapping_crops_lie_over_one_another_without_a_seam():
    """A method that knows the truth gives it back, whatever the number of crops that share a pixel."""
    rows = torch.linspace(0, 1, 256)[:, None].expand(256, 256)
    truth = torch.stack([rows, rows.T, (rows + rows.T) / 2])[None]
    masks = box_mask(256, (80, 120, 80, 120), (100, 140, 100, 140), (125, 160, 90, 130))
    image = torch.where(masks.amax(0) > 0, torch.rand(1, 3, 256, 256), truth)

    def truthful(view, hole):
        crop = next(crop for crop in iter(crops) if crop not in done)
        done.append(crop)
        return crop_picture(truth, crop)

    done, crops = [], erase(image, masks, lambda view, hole: view).crops
    erased = erase(image, masks, truthful)
    assert (erased.image - truth).abs().max() < 0.02


def test_objects_that_leave_nothing_to_look_at_are_refused_together():
    halves = box_mask(64, (0, 64, 0, 40), (0, 64, 30, 64))
    with pytest.raises(ValueError, match="mask must leave some of the picture to look at"):
        erase(torch.rand(1, 3, 64, 64), halves, resolution=64)


def shown(view, hole):
    """A method that only hands on what it is shown."""
    return view.clone()


def test_each_of_several_pictures_may_have_several_objects():
    boxes = (20, 40, 20, 40), (20, 40, 60, 80), (120, 140, 20, 40), (120, 140, 60, 80)
    masks = box_mask(200, *boxes).view(2, 2, 200, 200)
    erased = erase(torch.rand(2, 3, 200, 200), masks)
    assert len(erased.crops) == 4
    assert torch.equal(erased.changed > 0, grow(masks.amax(1, keepdim=True), 5) > 0)


def test_the_given_picture_stays_as_it_is():
    image, (mask,) = torch.rand(1, 3, 100, 100), box_mask(100, (40, 60, 40, 60))
    before = image.clone()
    erased = erase(image, mask)
    assert torch.equal(image, before) and not torch.equal(erased.image, before)


@pytest.mark.parametrize("alpha", ["opaque", "random", "cut out"])
def test_alpha_is_handed_through_bit_for_bit(alpha):
    image, (mask,) = torch.rand(2, 4, 120, 100), box_mask(120, (40, 60, 40, 60))[..., :100]
    drawn = torch.rand(120, 100)
    image[:, 3] = {"opaque": torch.ones(()), "random": drawn, "cut out": (drawn > 0.5).float()}[alpha]
    erased = erase(image, mask)
    assert erased.image.shape == image.shape and torch.equal(erased.image[:, 3], image[:, 3])
    outside = (erased.changed == 0).expand_as(image)
    assert torch.equal(erased.image[outside], image[outside])
    assert (erased.image[:, :3] != image[:, :3]).any(1)[:, 45:55, 45:55].all()


@pytest.mark.parametrize("side", [128, 300], ids=["at full size", "reduced"])
def test_hidden_colours_are_never_looked_at(side):
    """Two pictures that look alike are filled alike, whatever lies under their transparent pixels."""
    image, (mask,) = torch.rand(1, 4, side, side), box_mask(side, (side // 4, side // 2, side // 4, side // 2))
    image[:, 3] = 1
    image[:, 3, :, side * 3 // 8 :] = 0
    other = image.clone()
    other[:, :3][image[:, 3:].expand(-1, 3, -1, -1) == 0] = 0

    def mean(view, hole):
        return (view * (1 - hole)).mean((2, 3), keepdim=True).expand_as(view) / (1 - hole).mean()

    one, two = (erase(picture, mask, mean).image for picture in (image, other))
    visible = image[:, 3:].expand(-1, 3, -1, -1) > 0
    assert torch.equal(one[:, :3][visible], two[:, :3][visible])


def test_a_wholly_transparent_surrounding_is_no_reason_to_fail():
    image = torch.zeros(1, 4, 100, 100)
    erased = erase(image, box_mask(100, (40, 60, 40, 60))[0])
    assert erased.image.isfinite().all() and torch.equal(erased.image[:, 3], image[:, 3])


@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (-0.5, 1.0), (-0.2, 60.0), (0.0, 1.02)])
def test_a_picture_beyond_the_range_is_filled_at_its_own_level(low, high):
    surroundings = torch.rand(1, 3, 100, 100, generator=torch.Generator().manual_seed(0)) * (high - low) + low
    image, (mask,) = surroundings.clone(), box_mask(100, (40, 60, 40, 60))
    image[..., 40:60, 40:60] = -70.0  # what is erased does not count
    seen = []

    def blurred(view, hole):
        seen.append((float(view.min()), float(view.max())))
        known = (view * (1 - hole)).mean((2, 3), keepdim=True) / (1 - hole).mean()
        return torch.where(hole > 0, known, view)

    erased = erase(image, mask, blurred)
    assert 0 <= seen[0][0] and seen[0][1] <= 1, "a network is shown what it knows"
    outside = (erased.changed == 0).expand_as(image)
    assert torch.equal(erased.image[outside], image[outside])
    filled = erased.image[..., 45:55, 45:55]
    assert low <= filled.min() and filled.max() <= high and filled.max() > 0.2 * high


def test_a_flat_bright_surface_stays_as_bright_in_the_hole():
    image, (mask,) = torch.full((1, 3, 100, 100), 3.0), box_mask(100, (40, 60, 40, 60))
    image[..., 45:55, 45:55] = 0.1
    assert torch.allclose(erase(image, mask).image, torch.full_like(image, 3.0))


def test_what_was_found_in_the_mask_is_told():
    mask = torch.full((64, 64), 0.43)
    faint = erase(torch.rand(1, 3, 64, 64), mask)
    assert faint.crops == () and faint.highest == pytest.approx(0.43) and faint.share == 0
    mask[:48] = 1
    assert erase(torch.rand(1, 3, 64, 64), mask, shown, grow_px=0).share == 0.75


@pytest.mark.parametrize("outlier", [-1000.0, -5.0, 6.5e4])
def test_one_broken_pixel_does_not_take_the_range_from_the_rest(outlier: float):
    ramp = torch.linspace(0.1, 0.6, 128).expand(1, 3, 128, 128).clone()
    image, (mask,) = ramp.clone(), box_mask(128, (50, 80, 50, 80))
    image[..., 5, 5] = outlier

    def eight_bits(view, hole):
        """What a network's fill is good for: a few levels."""
        return (torch.where(hole > 0, view.clamp(0, 1), view) * 255).round() / 255

    erased = erase(torch.where(mask > 0, ramp, image), mask, eight_bits)
    assert (erased.image - image).abs()[..., 50:80, 50:80].max() < 0.02
    assert (erased.image[..., 5, 5] == outlier).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_erased_on_a_cpu(dtype: torch.dtype):
    image, (mask,) = torch.rand(1, 3, 300, 300).to(dtype), box_mask(300, (60, 240, 60, 240))
    erased = erase(image, mask)
    assert erased.image.dtype == dtype and torch.equal(erased.image[..., :20], image[..., :20])


@pytest.mark.parametrize("size", [96, 300], ids=["as it is", "made smaller"])
@pytest.mark.parametrize("inverted", [False, True])
def test_half_precision_as_bright_and_as_dark_as_it_can_be_stays_finite(size: int, inverted: bool):
    """The difference of 60,000 and -60,000 is more than half precision holds."""
    image = torch.full((1, 3, size, size), 60000.0)
    image[..., ::2, :] = image[..., 1::4] = -60000.0
    (mask,) = box_mask(size, (size // 3, size // 2, size // 3, size // 2))

    def other_way_round(view, hole):
        return (1 - view if inverted else view).clamp(0, 1)

    erased = erase(image.half(), mask, other_way_round)
    assert erased.image.isfinite().all()
    expected = erase(image, mask, other_way_round).image
    assert (erased.image - expected).abs().max() < 0.01 * 120000


def test_a_mask_that_rounding_took_a_little_beyond_its_range_is_taken():
    (mask,) = box_mask(64, (20, 40, 20, 40))
    assert len(erase(torch.rand(1, 3, 64, 64), mask * 1.0000002).crops) == 1


def test_a_picture_stays_laid_out_as_it_came_and_comes_out_the_same():
    """ComfyUI's lie pixel by pixel; turned round twice, 24 megapixels cost more than what is erased from them."""
    image, mask = torch.rand(2, 200, 300, 3, generator=torch.Generator().manual_seed(2)), torch.zeros(200, 300)
    mask[60:90, 100:150] = 1

    def brighter(view, hole):
        assert view.is_contiguous()
        return view * 0.9 + view.mean() * 0.1

    theirs, rows = image.movedim(-1, 1), image.movedim(-1, 1).contiguous()
    found, expected = (erase(one, mask, brighter) for one in (theirs, rows))
    assert torch.equal(found.image, expected.image) and torch.equal(found.changed, expected.changed)
    for picture in (found.image, found.candidates):
        assert picture.movedim(1, -1).is_contiguous()


def test_a_speck_on_a_large_picture_holds_little_more_than_the_new_picture():
    """The picture that comes out and where it changed, and one of the mask's size more at most."""
    image, mask = torch.rand(1, 1000, 1500, 3).movedim(-1, 1), torch.zeros(1, 1000, 1500)
    mask[:, 500:509, 700:709] = 1
    size = image.numel() * image.element_size()
    with LiveMemory() as held:
        given = image.view_as(image), mask.view_as(mask)  # counted from here on
        before = held.now
        assert before == 4 / 3 * size
        erase(*given)
    assert held.most - before <= 1.5 * size
