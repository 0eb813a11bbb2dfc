"""A copy made smaller than its picture gets the detail of where it is copied from, and of nothing else."""

from dataclasses import replace
from math import floor

import pytest
import torch
from torch import Tensor

from inpainting_core.choosing import Copies
from inpainting_core.copying import copy
from inpainting_core.crop import Crop, as_seen, resize, window
from inpainting_core.detail import copied_detail
from inpainting_core.erasing import erase_holes

CROP = Crop(top=10, left=20, height=60, width=80, work_height=24, work_width=32)
BOX = (25, 40, 53, 76)
NO_ALPHA = torch.zeros(1, 0, 100, 110)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def hole() -> Tensor:
    hole = torch.zeros(1, 1, CROP.work_height, CROP.work_width)
    hole[..., 6:17, 8:22] = 1
    return hole


@pytest.fixture(scope="module")
def copies(hole: Tensor) -> Copies:
    """Two candidates: one copied from anywhere known, one as a whole from beside the hole, but for a bare corner."""
    sources = torch.full((2, 2, *hole.shape[-2:]), -1)
    y, x = hole[0, 0].nonzero().unbind(1)
    known = (hole[0, 0] == 0).nonzero()
    sources[0][:, y, x] = known[torch.randint(len(known), (len(y),), generator=torch.Generator().manual_seed(1))].T
    sources[1][:, y, x] = torch.stack([y - 6, x - 8])
    sources[1][:, 6:9, 8:11] = -1
    return Copies(noise(2, 3, *hole.shape[-2:], seed=2), sources)


def slow(picture: Tensor, hole: Tensor, copies: Copies, crop: Crop, box: tuple[int, int, int, int]) -> Tensor:
    """Pixel by pixel: the finest band of the crop, from as far beside the source as the pixel is beside its cell."""
    seen = window(picture, crop).clone()
    enlarged, erased = resize(copies.pictures[:1], crop.height, crop.width), torch.zeros(crop.height, crop.width)
    for y in range(crop.height):
        for x in range(crop.width):
            if hole[0, 0, floor((y + 0.5) * crop.scale), floor((x + 0.5) * crop.scale)]:
                seen[..., y, x], erased[y, x] = enlarged[..., y, x], 1
    finest = seen - resize(as_seen(seen, crop), crop.height, crop.width)
    made = torch.zeros(len(copies.sources), 3, box[2] - box[0], box[3] - box[1])
    for n, source in enumerate(copies.sources):
        for row in range(made.shape[-2]):
            for column in range(made.shape[-1]):
                y, x = box[0] + row - crop.top, box[1] + column - crop.left
                i, j = floor((y + 0.5) * crop.scale), floor((x + 0.5) * crop.scale)
                if source[0, i, j] >= 0:
                    there = y + round((source[0, i, j].item() - i) / crop.scale)
                    beside = x + round((source[1, i, j].item() - j) / crop.scale)
                    there, beside = min(max(there, 0), crop.height - 1), min(max(beside, 0), crop.width - 1)
                    made[n, :, row, column] = finest[0, :, there, beside]
    return made


def test_the_detail_is_that_of_the_places_copied_from(hole, copies):
    picture = noise(1, 3, 100, 110)
    made = copied_detail(picture, NO_ALPHA, hole, copies, CROP, BOX)
    assert torch.allclose(made, slow(picture, hole, copies, CROP, BOX), atol=1e-6)
    assert made[0].std() > 0.1 and not made[1][:, :6, :6].any(), "nothing where nothing was copied"


def test_beyond_the_border_it_is_the_reflected_pictures(hole, copies):
    picture, crop = noise(1, 3, 100, 110), replace(CROP, top=-15, left=45)
    box = (0, 65, 28, 100)
    made = copied_detail(picture, NO_ALPHA, hole, copies, crop, box)
    assert torch.allclose(made, slow(picture, hole, copies, crop, box), atol=1e-6)


def test_nothing_of_what_is_erased_or_hidden_comes_into_it(hole, copies):
    picture, other, alpha = noise(1, 3, 100, 110), noise(1, 3, 100, 110, seed=5), torch.ones(1, 1, 100, 110)
    alpha[..., 12:20, 24:60] = 0
    erased = torch.zeros(1, 1, 100, 110)
    erased[..., 25:52, 40:75] = 1
    swapped = torch.where((erased > 0) | (alpha == 0), other, picture)
    first, again = (copied_detail(one, alpha, hole, copies, CROP, BOX) for one in (picture, swapped))
    assert torch.equal(first, again)
    assert not torch.equal(first, copied_detail(swapped, torch.ones_like(alpha), hole, copies, CROP, BOX))


def test_a_fill_of_a_large_picture_is_as_sharp_as_what_lies_around_it():
    """Fine noise, seen at a quarter of its size: enlarged copies have hardly any of it."""
    picture, mask = noise(1, 3, 512, 512), torch.zeros(1, 512, 512)
    mask[:, 150:350, 180:360] = 1
    generator = torch.Generator()

    def fill(view: Tensor, hole: Tensor) -> Copies:
        return copy(view, hole, generator.manual_seed(0))

    def enlarged(view: Tensor, hole: Tensor) -> Tensor:
        return fill(view, hole).pictures

    sharp, soft = (erase_holes(picture, mask, one, resolution=128, grow_px=0, context=0.5) for one in (fill, enlarged))
    (around, within, without) = (
        one[..., 200:300, 230:310].diff(dim=-1).std() for one in (picture, sharp.image, soft.image)
    )
    assert without < 0.3 * around
    assert 0.7 * around < within < 1.1 * around
    assert torch.equal(torch.where(mask > 0, 0, sharp.image), torch.where(mask > 0, 0, picture))
    assert sharp.image.min() >= 0 and sharp.image.max() <= 1
