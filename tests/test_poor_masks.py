"""Masks made poor: too small, beside the object, with holes, boxes; and the flag that asks for them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from training.data.composites import Composites
from training.data.poor_masks import POOR, boxed, holed, poor, shifted, shrunk, size_of
from training.data.recipe import PUBLISHED
from training.train_yoeo_stage3 import parse_args

DISC = np.hypot(*np.mgrid[-40:40, -50:50]) < 24
NEEDED = ["--teacher", "t", "--student", "s", "--detector", "d", "--images", "i", "--out", "o"]


def each(kind, mask: np.ndarray = DISC) -> list[np.ndarray]:
    return [kind(mask, np.random.default_rng(seed)) for seed in range(12)]


def test_a_mask_is_too_small_all_around():
    for less in each(shrunk):
        assert (less <= DISC).all() and 0.4 < less.sum() / DISC.sum() < 1
        assert abs(np.argwhere(less).mean(0) - np.argwhere(DISC).mean(0)).max() < 1


def test_a_mask_lies_beside():
    for moved in each(shifted):
        away = np.linalg.norm(np.argwhere(moved).mean(0) - np.argwhere(DISC).mean(0))
        assert moved.sum() == DISC.sum() and 0.04 < away / size_of(DISC) < 0.22


def test_a_mask_shifted_out_of_the_picture_loses_what_leaves_it():
    corner = np.zeros((40, 40), dtype=bool)
    corner[:20, :20] = True
    assert min(moved.sum() for moved in each(shifted, corner)) < corner.sum()


def test_a_mask_has_holes():
    for left in each(holed):
        assert (left <= DISC).all() and 0 < left.sum() < DISC.sum()


def test_every_part_is_its_box():
    two = DISC | (np.hypot(*(np.mgrid[:80, :100] - np.array([8, 90])[:, None, None])) < 5)
    for boxes in each(boxed, two):
        assert (boxes >= two).all()
        (corners,) = [boxes[40 - 23, 50 - 23] & boxes[40 + 22, 50 + 22]]
        assert corners and not boxes[70:, 90:].any()


@pytest.mark.parametrize("kind", POOR)
def test_a_generator_in_the_same_state_gives_the_same_mask(kind: str):
    one, again, other = (POOR[kind](DISC, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (one == again).all() and one.dtype == bool and one.shape == DISC.shape
    assert (one != other).any()


def test_something_of_a_mask_is_always_left():
    speck, all_but_one = np.zeros((20, 20), dtype=bool), np.ones((20, 20), dtype=bool)
    speck[10, 10], all_but_one[0, 0] = True, False
    for mask in (speck, all_but_one):
        for seed in range(40):
            worse = poor(mask, np.random.default_rng(seed))
            assert worse.any() and not worse.all()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A picture whose one entity is a disc."""
    folder = tmp_path_factory.mktemp("labelled")
    Image.new("RGB", (100, 80), (90, 120, 60)).save(folder / "a.png")
    Image.fromarray(DISC.astype(np.uint8)).save(folder / "a_entities.png")
    return folder


def test_only_the_share_of_the_things_masks_is_made_poor_and_without_it_no_bit_differs(labelled):
    plain, none, half, all_poor = (
        Composites(labelled, 64, 40, 0, "d2", replace(PUBLISHED, squares=True, poor_masks=share))
        for share in (0.0, 0.0, 0.5, 1.0)
    )
    assert all((plain[index]["mask"] == none[index]["mask"]).all() for index in range(40))
    for samples, low, high in ((half, 8, 32), (all_poor, 34, 40)):
        other = sum(bool((samples[index]["mask"] != plain[index]["mask"]).any()) for index in range(40))
        assert low <= other <= high
        assert all((samples[index]["image"] == plain[index]["image"]).all() for index in range(40))


def test_the_paired_set_keeps_its_holes(labelled):
    """A box might cover a whole entity, which that set must never contain."""
    one, other = (
        Composites(labelled, 64, 6, 0, "d1", replace(PUBLISHED, squares=True, poor_masks=share)) for share in (0.0, 1.0)
    )
    assert all((one[index]["mask"] == other[index]["mask"]).all() for index in range(6))


def test_pools_that_were_made_before_still_fit():
    assert "poor_masks" not in PUBLISHED.facts() and replace(PUBLISHED, poor_masks=0.5).facts()["poor_masks"] == 0.5


def test_a_share_is_a_number_from_0_to_1(capsys):
    assert parse_args(NEEDED).poor_masks == 0 and parse_args([*NEEDED, "--poor-masks", "0.3"]).poor_masks == 0.3
    for wrong in ("1.5", "-1", "some"):
        with pytest.raises(SystemExit):
            parse_args([*NEEDED, "--poor-masks", wrong])
    assert "must be a number from 0 to 1, got 1.5." in capsys.readouterr().err
