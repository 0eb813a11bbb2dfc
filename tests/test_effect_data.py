"""What an object does to the picture around it: the model of light, point by point."""

from dataclasses import replace

import numpy as np
import pytest

from training.data.effects import GAMMA, Effects, random_effects, with_effects

NOTHING = Effects(
    standing=True, contact=0, reach=0.2, lamp=(0, 0, 0), towards=(0.5, 0.5), penumbra=0.01, mirror=0, bleeding=0
)
SHADE = replace(NOTHING, lamp=(0.6, 0.6, 0.6))
GREY, RED = (np.full((80, 80, 3), 0.5, dtype=np.float32), np.full((80, 80, 3), (0.9, 0.1, 0.1), dtype=np.float32))


def post() -> np.ndarray:
    """A narrow post, 20 px high, whose lowest row is 39."""
    alpha = np.zeros((80, 80), dtype=np.float32)
    alpha[20:40, 38:42] = 1
    return alpha


def light(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float64) ** GAMMA


def test_an_object_that_does_nothing_leaves_the_picture():
    np.testing.assert_allclose(with_effects(GREY, RED, post(), NOTHING), GREY, atol=1e-6)


def test_the_shadow_of_a_point_falls_where_its_height_says():
    """Every row of the post, one at a time: z above the ground, as far to the right and as far down."""
    shaded = with_effects(GREY, RED, post(), replace(SHADE, penumbra=1e-6, towards=(1.0, 1.0)))
    expected = np.ones((80, 80))
    for z in range(20):
        expected[39 + z, 38 + z : 42 + z] = 0.4
    np.testing.assert_allclose(light(shaded)[..., 0] / light(GREY)[..., 0], expected, atol=1e-3)


def test_a_shadow_is_softer_the_farther_it_falls():
    shaded = light(with_effects(GREY, RED, post(), replace(SHADE, penumbra=0.2, towards=(0.1, 1.2))))[..., 0]
    near, far = shaded[41], shaded[58]
    assert near.min() < far.min() and (near < 0.99 * near.max()).sum() < (far < 0.99 * far.max()).sum()


def test_seen_from_above_the_shadow_begins_at_the_object():
    above = replace(SHADE, standing=False, towards=(0.5, 0.0))
    shaded = light(with_effects(GREY, RED, post(), above))[..., 0] / light(GREY)[..., 0]
    assert shaded[30, 45] < 0.6 and shaded[30, 30] == pytest.approx(1, abs=1e-3)


def test_a_contact_shadow_is_deepest_at_the_foot_and_ends():
    shaded = light(with_effects(GREY, RED, post(), replace(NOTHING, contact=0.5)))[..., 0] / light(GREY)[..., 0]
    below = shaded[40:, 40]
    assert below[0] < 0.8 and (np.diff(below) >= -1e-6).all() and below[-1] > 0.999
    assert shaded[20, 46] > shaded[39, 46]


def test_a_reflection_is_the_object_upside_down():
    half = RED.copy()
    half[20:30] = (0.1, 0.1, 0.9)  # its upper half is blue
    mirrored = with_effects(GREY, half, post(), replace(NOTHING, mirror=0.5))
    assert mirrored[44, 40, 0] > 0.5 > mirrored[44, 40, 2] and mirrored[54, 40, 2] > 0.5 > mirrored[54, 40, 0]
    assert np.abs(mirrored - GREY)[:38].max() < 0.01


def test_colour_bleeds_in_the_objects_own_colour():
    more = with_effects(GREY, RED, post(), replace(NOTHING, bleeding=0.3)) - GREY
    assert more[42, 40, 0] > 4 * more[42, 40, 1] >= 0


def test_every_random_scene_is_a_picture():
    rng = np.random.default_rng(0)
    for _ in range(20):
        shaded = with_effects(GREY, RED, post(), random_effects(rng))
        assert np.isfinite(shaded).all() and shaded.min() >= 0 and shaded.max() <= 1
