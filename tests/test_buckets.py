"""Shapes of one area: YOEO's own at 512 px, the nearest for each picture, and batches of one shape."""

import numpy as np
import pytest
import torch
from PIL import Image

from inpainting_core.buckets import nearest_shape, shapes_of_area
from training.data.composites import Composites
from training.data.recipe import Recipe

PUBLISHED_17 = """256x1024 256x960 256x896 256x832 320x768 320x704 384x640 448x576 512x512 576x448 640x384 704x320
768x320 832x256 896x256 960x256 1024x256"""


def test_at_512_px_they_are_the_authors():
    shapes = {f"{height}x{width}" for height, width in shapes_of_area(512)}
    assert shapes == set(PUBLISHED_17.split()) and len(shapes_of_area(512)) == 17


@pytest.mark.parametrize("resolution", [192, 256, 512, 768, 1024])
def test_a_unet_takes_every_shape_and_none_is_larger_than_the_square(resolution):
    step = 64 if resolution >= 512 else 32
    for height, width in shapes_of_area(resolution):
        assert height % step == width % step == 0
        assert 0.5 * resolution**2 < height * width <= resolution**2


def test_a_side_of_no_multiple_has_its_square_alone():
    assert shapes_of_area(40) == [(40, 40)] and shapes_of_area(500) == [(500, 500)]


def test_the_nearest_is_the_one_of_the_smallest_difference():
    shapes, sizes = shapes_of_area(512), np.random.default_rng(0).integers(100, 2000, (500, 2))
    chosen = nearest_shape(sizes, shapes)
    for (width, height), place in zip(sizes, chosen, strict=True):
        differences = [abs(height / width - h / w) for h, w in shapes]
        assert differences[place] == min(differences)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Discs on wide, tall and square pictures: a stretched one is no disc."""
    folder = tmp_path_factory.mktemp("photos")
    for number, (width, height) in enumerate([(300, 150), (310, 150), (150, 310), (200, 200), (200, 190), (190, 200)]):
        y, x = np.indices((height, width)) - np.array([height, width])[:, None, None] / 2
        disc = np.hypot(y, x) < 60
        Image.fromarray(disc.astype(np.uint8) * 255).convert("RGB").save(folder / f"{number}.png")
        Image.fromarray(disc.astype(np.uint8)).save(folder / f"{number}_entities.png")
    return folder


def test_a_batch_has_one_shape_and_pictures_are_not_stretched(photos):
    samples, shapes = Composites(photos, 128, 400, 0, "d2", block=4), set()
    for start in range(0, 400, 4):
        batch = torch.utils.data.default_collate([samples[index] for index in range(start, start + 4)])
        assert batch["image"].shape[-2:] == batch["mask"].shape[-2:] == batch["entities"].shape[-2:]
        shapes.add(tuple(batch["image"].shape[-2:]))
        for disc in batch["entities"]:
            rows, columns = disc.any(1), disc.any(0)
            if not (disc[0].any() or disc[-1].any() or disc[:, 0].any() or disc[:, -1].any()):
                assert abs(int(rows.sum()) - int(columns.sum())) <= 2
    assert shapes == {(96, 160), (160, 96), (128, 128)}


def test_squares_can_be_asked_for(photos):
    samples = Composites(photos, 128, 40, 0, "d1", Recipe(squares=True), block=4)
    assert {tuple(samples[index]["image"].shape) for index in range(40)} == {(3, 128, 128)}


@pytest.mark.parametrize("resolution", [32, 64, 96, 128, 512, 576])
def test_no_shape_is_without_a_side(resolution: int):
    assert all(min(shape) > 0 for shape in shapes_of_area(resolution))
