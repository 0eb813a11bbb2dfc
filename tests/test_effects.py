"""Masks grown by the soft shadow around an object: found where one is drawn, and nothing where there is none."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from inpainting_core.effects import FEWEST, add_effects, end_of_rise, middle
from inpainting_core.surroundings import SECTORS

FLAT = torch.full((3, 160, 200), 0.55)
GREY = np.full((12, 3), 1 / 3)


def disc(y: float = 80, x: float = 100, radius: float = 30) -> torch.Tensor:
    """[1, 160, 200], 1 within."""
    rows, columns = torch.meshgrid(torch.arange(160.0), torch.arange(200.0), indexing="ij")
    return ((rows - y).square() + (columns - x).square() <= radius**2).float()[None]


def shade(mask: torch.Tensor, depth: float = 0.3, reach: float = 16) -> torch.Tensor:
    """The light that is left around a mask: least beside it, all of it from so many pixels on, [1, h, w]."""
    distance = torch.from_numpy(ndimage.distance_transform_edt(mask[0].numpy() == 0)).float()
    return 1 - depth * (1 - distance / reach).clamp(0, 1)[None]


def scene(ground: torch.Tensor = FLAT, mask: torch.Tensor | None = None, **shadow: float) -> torch.Tensor:
    """A red disc on a ground, with its shadow: [1, 3, h, w]."""
    mask = disc() if mask is None else mask
    red = torch.tensor([0.8, 0.2, 0.2])[:, None, None]
    return (ground * shade(mask, **shadow) * (1 - mask) + red * mask)[None]


def overlap(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one * other).sum() / torch.maximum(one, other).sum())


def ring(mask: torch.Tensor, reach: float) -> torch.Tensor:
    """What lies within so many pixels of a mask, without it."""
    distance = torch.from_numpy(ndimage.distance_transform_edt(mask[0].numpy() == 0))
    return (distance <= reach).float()[None] - mask


@pytest.mark.parametrize(("reach", "depth"), [(8, 0.1), (8, 0.3), (16, 0.1), (16, 0.4), (26, 0.1), (26, 0.6)])
def test_a_shadow_is_found_as_far_as_it_reaches(reach: float, depth: float):
    found = add_effects(scene(reach=reach, depth=depth), disc())
    assert overlap(found.effect[0], ring(disc(), reach)) > 0.8
    assert torch.equal(found.masks[0], disc() + found.effect[0])
    assert found.shares[0] == pytest.approx(float(found.effect.sum() / disc().sum()))


def test_a_shadow_on_one_side_is_found_on_that_side():
    rows = torch.arange(160.0)[None, :, None]
    light = shade(disc()).where(rows > 80, 1.0)
    image = scene(depth=0)
    image = torch.where(disc() > 0, image, image * light)
    effect = add_effects(image, disc()).effect[0, 0]
    assert effect[90:].sum() > 0.6 * ring(disc(), 16)[0, 90:].sum() and effect[:70].sum() == 0


@pytest.mark.parametrize("ground", ["flat", "sloping", "grain", "stripes"])
def test_without_a_shadow_the_mask_is_unchanged(ground: str):
    generator = torch.Generator().manual_seed(0)
    across = torch.arange(200.0)[None, None]
    grounds = {
        "flat": FLAT,
        "sloping": FLAT + 0.0003 * across,
        "grain": FLAT + 0.02 * torch.randn(FLAT.shape, generator=generator),
        "stripes": FLAT + 0.2 * ((across // 3) % 2),
    }
    found = add_effects(scene(grounds[ground], depth=0), disc())
    assert torch.equal(found.masks[0], disc()) and not found.effect.any() and found.shares == (0.0,)


def test_a_hard_edge_is_taken_for_another_ground():
    """What is dark and ends at once may as well be a carpet: nothing is said of it."""
    dark = FLAT.where(ring(disc(), 12) == 0, 0.3)
    assert not add_effects(scene(dark, depth=0), disc()).effect.any()


def test_what_cannot_be_seen_is_no_shadow():
    assert not add_effects(scene(depth=0.015), disc()).effect.any()


def test_a_narrow_marking_is_looked_over():
    """A white line on the ground beside the disc, within its shadow."""
    line = FLAT.clone()
    line[:, 118:121] = 0.95
    found = add_effects(scene(line, reach=20), disc())
    assert overlap(found.effect[0], ring(disc(), 20)) > 0.75


def test_another_ground_ends_the_search():
    """The shadow lies on grey up to a lawn; where the lawn begins nothing more is said."""
    lawn = FLAT.clone()
    lawn[:, 118:] = torch.tensor([0.3, 0.7, 0.2])[:, None, None]
    effect = add_effects(scene(lawn, reach=20), disc()).effect[0, 0]
    assert effect[112:116, 95:105].any() and not effect[126:].any()


def test_a_brighter_or_darker_picture_has_the_same_shadow():
    one, darker = (add_effects(scene() * gain, disc()).effect for gain in (1.0, 0.6))
    assert overlap(one, darker) > 0.95


def test_objects_stay_apart_and_an_effect_is_no_part_of_another_object():
    masks = torch.cat([disc(80, 60), disc(80, 125)])
    both = masks.amax(0, keepdim=True)
    found = add_effects(scene(mask=both), masks)
    assert found.masks.shape == (1, 2, 160, 200) and found.effect.any()
    assert not (found.masks[0, 0] * masks[1]).any() and not (found.effect[0, 0] * both[0]).any()
    assert bool((found.masks[0] >= masks).all())


def test_parts_of_one_mask_have_a_shadow_each():
    both = torch.maximum(disc(80, 50, 25), disc(80, 150, 25))
    effect = add_effects(scene(mask=both, reach=12), both).effect[0]
    assert overlap(effect, ring(both, 12)) > 0.75


def test_every_picture_of_a_batch_gets_what_it_gets_alone():
    pictures = torch.cat([scene(), scene(depth=0)])
    both = add_effects(pictures, disc())
    assert both.shares[0] > 0.5 and both.shares[1] == 0
    for number, one in enumerate(pictures.split(1)):
        alone = add_effects(one, disc())
        assert torch.equal(both.masks[number], alone.masks[0]) and both.shares[number] == alone.shares[0]


def test_an_object_at_the_pictures_edge_has_a_shadow_too():
    mask = disc(158, 2)
    assert overlap(add_effects(scene(mask=mask, reach=10), mask).effect[0], ring(mask, 10)) > 0.7


@pytest.mark.parametrize("size", [1, 3])
def test_a_speck_is_no_trouble(size: int):
    mask = torch.zeros(1, 160, 200)
    mask[:, 80 : 80 + size, 80 : 80 + size] = 1
    assert torch.equal(add_effects(scene(mask=mask, depth=0), mask).masks[0], mask)


def test_hidden_colours_change_nothing():
    """Under alpha 0 a picture may hold anything."""
    alpha = torch.ones(1, 1, 160, 200)
    alpha[..., :60] = 0
    one, other = (torch.cat([scene().where(alpha > 0, value), alpha], 1) for value in (0.0, 0.9))
    assert torch.equal(add_effects(one, disc()).masks, add_effects(other, disc()).masks)


def test_an_empty_mask_stays_empty():
    found = add_effects(scene(), torch.zeros(1, 64, 64))
    assert not found.masks.any() and found.masks.shape == (1, 1, 160, 200) and found.shares == (0.0,)


@pytest.mark.parametrize(
    ("brightness", "end"),
    [
        ([0.0, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2], 2),
        ([0.0, 0.1, 0.1, 0.15, 0.15, 0.15, 0.15], 3),  # level for a ring only
        ([0.0, 0.1, 0.9, 0.2, 0.2, 0.2, 0.2], 3),  # a marking
        ([0.0, 0.1, 0.9, 0.9, 0.9, 0.9, 0.15], 1),  # another ground
        ([0.0, 0.01, 0.02, 0.02, 0.02, 0.02, 0.02], 0),  # too little to be seen
        ([0.2, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0], 0),
        ([0.0, 0.1, np.nan, 0.2, 0.2, 0.2, 0.2], 1),
        ([np.nan, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2], 0),
    ],
)
def test_brightness_is_followed_until_it_is_level(brightness: list[float], end: int):
    assert end_of_rise(np.array(brightness), GREY[: len(brightness)], np.zeros(len(brightness))) == end


def test_a_rise_within_the_grounds_own_texture_is_none():
    rising = np.array([0.0, 0.1, 0.2, 0.2, 0.2, 0.2])
    assert [end_of_rise(rising, GREY[:6], np.full(6, texture)) for texture in (0.1, 0.3)] == [2, 0]


def test_the_middle_of_a_stretch_is_the_median_of_its_neighbours_medians():
    """Against a loop over the cells; some have too few pixels to count."""
    rng = np.random.default_rng(0)
    cells, values = rng.integers(0, 3 * SECTORS + 1, (30, 40)), rng.random((30, 40))
    alone = np.full((SECTORS, 3), np.nan)
    for sector in range(SECTORS):
        for number in range(3):
            own = values[cells == sector * 3 + number + 1]
            alone[sector, number] = np.median(own) if len(own) >= FEWEST else np.nan
    got = middle(values, cells, 3)
    for sector in range(SECTORS):
        for number in range(3):
            three = sorted(x for x in (alone[(sector + step) % SECTORS, number] for step in (-1, 0, 1)) if x == x)
            expected = three[(len(three) - 1) // 2] if three else np.nan
            np.testing.assert_allclose(got[sector, number], expected)
