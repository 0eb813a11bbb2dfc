"""A hole completed by copying: exact where the picture repeats, smooth where it is, and never from under the hole."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from references_exemplar import agreed_by_looping, peeled_by_looping

from inpainting_core import patches
from inpainting_core.exemplar import (
    COARSEST_PX,
    VOTERS,
    complete,
    copied_from,
    find_places,
    finer,
    peeled,
    pyramid,
    with_texture,
)
from inpainting_core.membrane import spread
from inpainting_core.patches import SIDE, Grid
from inpainting_core.patchwork import Places, Size, agreed

PICTURES = Path(__file__).parent.parent / "assets" / "pictures"
SHAPES = {"square": (96, 96), "odd": (91, 117), "two sizes": (176, 192)}


def hole_in(height: int, width: int) -> torch.Tensor:
    hole = torch.zeros(1, 1, height, width)
    hole[..., height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = 1
    return hole


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=seeded(seed))


def random_scene() -> tuple[Size, torch.Tensor, torch.Tensor]:
    hole = torch.zeros(1, 1, 24, 22)
    hole[..., 9:17, 12:] = 1
    picture = with_texture(noise(24, 22) * (1 - hole), 1 - hole)
    return Size(picture, 1 - hole), picture[0], hole[0, 0]


def test_what_the_copies_agree_on_is_their_weighted_mean():
    size, picture, hole = random_scene()
    grid = size.grid
    field = grid.sources[torch.randint(len(grid.sources), grid.targets.shape, generator=seeded())]
    far = torch.rand(len(field), generator=seeded(1))
    corners = [divmod(int(n), grid.columns) for n in grid.targets]
    slow_field = {corner: divmod(int(n), grid.columns) for corner, n in zip(corners, field, strict=True)}
    slow_far = dict(zip(corners, far.tolist(), strict=True))
    for agreement in (0.0, 1.5, 12.0):
        slow = agreed_by_looping(picture, hole, slow_field, slow_far, SIDE, agreement)
        assert torch.allclose(agreed(size, Places(field, far), agreement)[0], slow, atol=1e-5)


def test_the_first_fill_goes_inwards_from_the_edge():
    size, picture, hole = random_scene()
    assert torch.allclose(peeled(size, seeded())[0], peeled_by_looping(picture, hole, SIDE, VOTERS))


def test_a_finer_field_copies_from_where_the_coarse_one_did():
    coarse, fine = Grid(hole_in(40, 46)), Grid(hole_in(80, 92))
    field = finer(coarse.moved(coarse.targets, -12, 3), coarse, fine)
    inner = fine.targets // fine.columns > 26  # further up, a target lies over coarse patches that are known
    assert torch.equal(field[inner], fine.moved(fine.targets, -24, 6)[inner])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_pattern_that_repeats_goes_on_exactly(shape):
    height, width = shape
    tile = noise(12, 16)
    view = tile.tile(1, 1, 16, 13)[..., :height, :width]
    hole = hole_in(height, width)
    filled = complete(torch.where(hole > 0, 0.5, view), hole, seeded())
    assert (filled - view).abs().max() < 1e-3


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_plain_and_even_pictures_stay_so(shape):
    height, width = shape
    hole = hole_in(height, width)
    for level in (0.0, 0.3, 1.0):
        assert (complete(torch.full((1, 3, height, width), level), hole, seeded()) - level).abs().max() < 1e-6
    ramp = torch.linspace(0.1, 0.9, width).expand(1, 3, height, width)
    assert (complete(ramp, hole, seeded()) - ramp).abs().max() < 0.02
    slant = ramp / 2 + torch.linspace(0, 0.4, height)[:, None]
    assert (complete(slant, hole, seeded()) - slant).abs().max() < 0.05


def test_an_edge_goes_on_through_the_hole():
    view = torch.linspace(0, 1, 128).lt(0.45).float().expand(1, 3, 128, 128) * 0.6 + 0.2
    hole = hole_in(128, 128)
    filled = complete(torch.where(hole > 0, 0.5, view), hole, seeded())
    assert (filled - view).abs().mean() < 0.005


def test_specks_on_a_plain_surface_are_not_sown_into_the_hole():
    view, hole, chance = 0.5 + 0.02 * noise(192, 192), torch.zeros(1, 1, 192, 192), seeded(9)
    hole[..., 56:136, 56:136] = 1
    for _ in range(60):
        y, x = torch.randint(0, 186, (2,), generator=chance).tolist()
        view[..., y : y + 3, x : x + 4] = 0.8
    assert complete(view, hole, seeded())[..., 64:128, 64:128].max() < 0.65


def test_known_pixels_stay_and_nothing_comes_from_under_the_hole():
    view, hole = noise(96, 112), hole_in(96, 112)
    filled = complete(view, hole, seeded())
    assert torch.equal(filled * (1 - hole), view * (1 - hole))
    assert torch.equal(complete(torch.where(hole > 0, noise(96, 112, 5), view), hole, seeded()), filled)
    assert filled.min() >= 0 and filled.max() <= 1


def test_a_seed_makes_the_same_fill_again_and_another_makes_another():
    view, hole = noise(192, 192), hole_in(192, 192)
    first, again, other = (complete(view, hole, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_texture_keeps_its_strength_and_where_nothing_fits_the_fill_is_soft():
    hole, white = hole_in(128, 128), noise(128, 128)
    blotches = torch.nn.functional.interpolate(noise(32, 32), (128, 128), mode="bicubic").clamp(0, 1)
    inside = (..., slice(46, 82), slice(46, 82))
    left = {
        name: (complete(view, hole, seeded())[inside].std() / view.std()).item()
        for name, view in {"blotches": blotches, "white": white}.items()
    }
    assert 0.6 < left["blotches"] < 1.2 and left["white"] < 0.6


def test_a_hole_in_foliage_is_not_woven_of_one_patch(monkeypatch):
    """How much of it is copied from where most patches are used more than four times."""
    picture = Image.open(PICTURES / "wren.jpg").convert("RGB").resize((192, 192))
    view, hole = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255, torch.zeros(1, 1, 192, 192)
    hole[..., 50:140, 50:140] = 1

    def worn() -> float:
        y, x = copied_from(find_places(view, hole, seeded(1)), view, hole).sources[:, :, hole[0, 0] > 0][0]
        uses = torch.zeros(1, 1, 192, 192).index_put((*torch.zeros(2, len(y)).long(), y, x), torch.ones(len(y)), True)
        around = torch.nn.functional.avg_pool2d(uses, SIDE, 1)
        return float(around[around > 4].sum() / around.sum())

    now = worn()
    monkeypatch.setattr(patches, "PRICE", 0.0)
    assert now < 0.5 * worn()


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (40, 3), (24, 24)])
def test_where_hardly_a_patch_is_known_the_surroundings_go_on_smoothly(shape):
    view, hole = noise(*shape), torch.ones(1, 1, *shape)
    hole[..., 0, 0] = 0
    filled = complete(view, hole, seeded())
    assert torch.equal(filled, view * (1 - hole) + spread(view, 1 - hole) * hole)


def test_without_a_hole_the_picture_comes_back():
    view = noise(40, 40)
    assert torch.equal(complete(view, torch.zeros(1, 1, 40, 40), seeded()), view)


@pytest.mark.parametrize(
    "rows, columns", [(slice(0, 40), slice(0, 40)), (slice(60, 96), slice(None)), (slice(2, 94),) * 2]
)
def test_holes_at_the_border_are_filled_too(rows, columns):
    view, hole = 0.3 + 0.2 * noise(96, 96), torch.zeros(1, 1, 96, 96)
    hole[..., rows, columns] = 1
    filled = complete(torch.where(hole > 0, 1.0, view), hole, seeded())
    assert filled.isfinite().all() and filled.max() <= 0.5001


def test_sizes_halve_as_long_as_they_hold_enough_to_copy():
    def sizes(height: int, width: int, hole: torch.Tensor) -> list[tuple[int, ...]]:
        picture = torch.zeros(1, 5, height, width)
        return [tuple(size.picture.shape[-2:]) for size in pyramid(picture, 1 - hole)]

    side = 4 * COARSEST_PX
    assert sizes(side, side + 1, hole_in(side, side + 1)) == [
        (side, side + 1),
        (side // 2, side // 2 + 1),
        (side // 4, side // 4 + 1),
    ]
    ring = torch.ones(1, 1, side, side)
    ring[..., :SIDE, :] = 0
    assert sizes(side, side, ring) == [(side, side)]


def test_half_precision_comes_back_as_it_went_in():
    view, hole = noise(96, 96).half(), hole_in(96, 96).half()
    filled = complete(view, hole, seeded())
    assert filled.dtype == torch.float16 and torch.equal(filled * (1 - hole), view * (1 - hole))
