"""Real things of entity maps: seen from near by, and cut out into other pictures."""

import numpy as np
import pytest
import torch
from PIL import Image

from training.data.detector_scenes import EntityScenes
from training.data.real_things import SMALLEST, VIEW, window_around
from training.data.recipe import Recipe

RED, BLUE = (220, 30, 30), (30, 30, 220)
UNLABELLED = Recipe(unlabelled="drawn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A grey picture with a red disc and a blue speck on its map, and a plain picture without a map."""
    folder = tmp_path_factory.mktemp("things")
    rows, columns = np.mgrid[:200, :300]
    ids = ((rows - 80) ** 2 + (columns - 210) ** 2 < 30**2).astype(np.uint8)
    ids[150:156, 20:30] = 2
    pixels = np.full((200, 300, 3), 120, dtype=np.uint8)
    pixels[ids == 1], pixels[ids == 2] = RED, BLUE
    Image.fromarray(pixels).save(folder / "a.png")
    Image.fromarray(ids).save(folder / "a_entities.png")
    Image.new("RGB", (200, 200), (120, 120, 120)).save(folder / "b.png")
    return folder


def red(image: torch.Tensor) -> torch.Tensor:
    return image[0] > image[2] + 0.3


def test_a_near_view_shows_one_thing_large(folder):
    scenes = EntityScenes(folder, 64, 20, 0, UNLABELLED, near=1.0)
    shares = []
    for index in range(len(scenes)):
        scene = scenes[index]
        there = scene["entities"] == 1
        shares.append(there.float().mean().item())
        assert (there == red(scene["image"])).float().mean() > 0.95
    assert all(0.7 / VIEW[1] ** 2 < share < 0.8 / VIEW[0] ** 2 for share in shares)  # a disc fills 79% of its square


def test_a_pasted_thing_lies_where_its_map_says_in_a_picture_that_had_none(folder):
    scenes, seen = EntityScenes(folder, 64, 30, 1, UNLABELLED, pasted=1.0), 0
    for index in range(len(scenes)):
        scene = scenes[index]
        assert ((scene["entities"] > 0) == red(scene["image"])).float().mean() > 0.9
        seen += scene["image"].std() > 0.02 and scene["entities"].max() > 1
    assert seen  # several things in one picture, which the picture with the map has not


def test_scenes_of_real_things_are_a_pure_function_of_seed_and_index(folder):
    first, again = (EntityScenes(folder, 48, 9, 3, UNLABELLED, 0.5, 0.5) for _ in range(2))
    [first[index] for index in range(4)]
    for index in (7, 8):
        for key, value in first[index].items():
            assert value.equal(again[index][key]), key


def test_a_window_is_square_and_within_the_picture_and_holds_a_thing_that_fits():
    rng = np.random.default_rng(0)
    thing = np.zeros((90, 160), dtype=bool)
    thing[:40, 120:160] = True  # in a corner
    for _ in range(50):
        left, top, right, bottom = window_around(thing, rng)
        assert right - left == pytest.approx(bottom - top) and 39.99 <= right - left <= 90
        assert left >= 0 and top >= 0 and right <= 160 + 1e-9 and bottom <= 90 + 1e-9
        assert top <= 0.01 and right >= 159.99


def test_pictures_whose_things_are_all_too_small_are_refused_in_words(folder, tmp_path):
    Image.new("RGB", (100, 100)).save(tmp_path / "a.png")
    ids = np.zeros((100, 100), dtype=np.uint8)
    ids[:5, :5] = 1
    Image.fromarray(ids).save(tmp_path / "a_entities.png")
    with pytest.raises(ValueError, match=f"entity maps must show things of {SMALLEST} px"):
        EntityScenes(tmp_path, 48, 1, 0, UNLABELLED, near=1.0)[0]


def test_real_things_need_a_map(tmp_path):
    Image.new("RGB", (100, 100)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="real things come from pictures with entity maps, got none"):
        EntityScenes(tmp_path, 48, 1, 0, UNLABELLED, pasted=0.5)
