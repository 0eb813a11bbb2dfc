"""Holes: what D1 promises, and that every kind is a proper hole."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.stats import chisquare

from training.data import holes
from training.data.composites import Composites
from training.data.holes import (
    HOLES,
    MAX_COVERED,
    MAX_HOLE,
    boxes,
    covered_share,
    d1_hole,
    d2_hole,
    dilate,
    entity_parts,
    large_entities,
    spare_entities,
    strokes,
)
from training.data.recipe import NANO_RECIPE


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


def test_no_entity_is_ever_whole_under_a_d1_hole(photos):
    samples = Composites(photos, 64, 500, 5, "d1", NANO_RECIPE)
    seen = 0
    for index in range(len(samples)):
        item = samples[index]
        shares = covered_share(item["mask"][0].numpy() > 0, item["entities"].numpy())
        seen += len(shares)
        assert max(shares.values(), default=0.0) <= MAX_COVERED, f"sample {index}"
        assert 0 < item["mask"].mean() < 1
    assert seen > 500


def test_2000_d1_holes_cover_as_much_of_things_as_they_may_and_no_more():
    """Things of every size, one over the other, under holes of their own shapes."""
    most = []
    for seed in range(2000):
        rng, entities = np.random.default_rng(seed), np.zeros((32, 40), dtype=int)
        for number in range(1, 6):
            top, left = rng.integers(0, 26), rng.integers(0, 34)
            entities[top:, left:][: rng.integers(2, 18), : rng.integers(2, 18)] = number
        shapes = [entities == number for number in np.unique(entities)[1:]]
        most.append(max(covered_share(d1_hole(entities, shapes, rng), entities).values()))
    assert max(most) <= MAX_COVERED
    assert np.mean(np.array(most) > MAX_COVERED - 0.1) > 0.1, "holes that come nowhere near the limit show nothing"


def test_a_d2_hole_is_whole_entities_and_their_rim(photos):
    samples = Composites(photos, 64, 1000, 5, "d2", NANO_RECIPE)
    most = 0.0
    for index in range(len(samples)):
        item = samples[index]
        hole, entities = item["mask"][0].numpy() > 0, item["entities"].numpy()
        inside = [e for e in large_entities(entities) if hole[entities == e].all()]
        assert inside, f"sample {index}"
        assert not (hole & ~dilate(np.isin(entities, inside), 1)).any(), f"sample {index}"  # 8 px of 512 are 1 of 64
        assert hole.mean() <= MAX_HOLE
        most = max(most, hole.mean())
    assert most > 0.4


def squares(count, side=12):
    """Entities in a row, ids from 1, on a picture of 512 px where a pixel of growth is a pixel."""
    entities = np.zeros((512, 512), dtype=int)
    for number in range(count):
        top, left = divmod(number, 4)
        entities[20 + 120 * top :, 20 + 120 * left :][:side, :side] = number + 1
    return entities


def test_a_d2_hole_takes_one_to_five_entities_and_grows_each_by_3_to_8_px():
    entities, counts, rims = squares(8, side=60), set(), set()
    for seed in range(200):
        hole = d2_hole(entities, [], np.random.default_rng(seed))
        inside = [e for e in range(1, 9) if hole[entities == e].all()]
        counts.add(len(inside))
        if 1 in inside:
            rims.add(20 - int(np.flatnonzero(hole[:, 50])[0]))
    assert counts == {1, 2, 3, 4, 5}
    assert rims == {3, 4, 5, 6, 7, 8}


def test_the_largest_entity_is_in_as_many_d2_holes_as_the_smallest():
    """Annotations are numbered by falling area: taken by their ids, the largest was in every hole."""
    entities = np.zeros((128, 128), dtype=int)
    for number in range(8):
        top, left = divmod(number, 4)
        entities[5 + 60 * top :, 4 + 31 * left :][: 25 - 2 * number, : 25 - 2 * number] = number + 1
    first, times, sizes = np.zeros(8), np.zeros(8), []
    for seed in range(3000):
        hole = d2_hole(entities, [], np.random.default_rng(seed))
        inside = [number for number in range(8) if hole[entities == number + 1].all()]
        times[inside] += 1
        sizes.append(len(inside))
        if len(inside) == 1:
            first[inside] += 1
    assert chisquare(first).pvalue > 0.001, f"holes of one entity, largest first: {first}"
    share = np.mean(sizes) / 8
    assert np.abs(times / 3000 - share).max() < 4 * (share * (1 - share) / 3000) ** 0.5, f"all holes: {times}"


def test_a_d2_hole_leaves_out_what_is_too_small_and_what_would_make_it_too_large():
    entities = np.zeros((512, 512), dtype=int)
    entities[20:30, 20:30] = 1  # 0.04% of the picture
    entities[40:100, 40:100] = 2
    entities[180:, :] = 3  # 65%
    for seed in range(50):
        hole = d2_hole(entities, [], np.random.default_rng(seed))
        assert hole[entities == 2].all() and not hole[entities == 1].any() and not hole[entities == 3].any()


def test_at_most_ten_entities_are_tried_for_a_d2_hole(monkeypatch):
    entities = np.zeros((128, 128), dtype=int)
    entities[:80] = 1  # 62.5%: once it is taken, nothing else fits
    for number in range(27):
        top, left = divmod(number, 9)
        entities[82 + 16 * top :, 14 * left :][:10, :10] = number + 2
    tried = []

    def counted(mask, steps):
        tried[-1] += 1
        return dilate(mask, steps)

    monkeypatch.setattr(holes, "dilate", counted)
    for seed in range(200):
        tried.append(0)
        d2_hole(entities, [], np.random.default_rng(seed))
    assert max(tried) == 10


def test_pictures_without_things_are_refused_for_d2(tmp_path):
    Image.new("RGB", (80, 80)).save(tmp_path / "room.png")
    Image.new("L", (80, 80)).save(tmp_path / "room_entities.png")
    with pytest.raises(ValueError, match="must show things"):
        Composites(tmp_path, 32, 5, seed=0, holes="d2")[0]


def test_stuff_is_no_entity(tmp_path):
    ids = np.zeros((80, 80), dtype=np.uint8)
    ids[:40], ids[40:] = 1, 2
    Image.fromarray(ids).save(tmp_path / "room_entities.png")
    Image.fromarray(ids).save(tmp_path / "room.png")
    facts = [{"id": 1, "score": 0.9, "thing": 0.39}, {"id": 2, "score": 0.9, "thing": 0.40}]
    (tmp_path / "room_entities.json").write_text(json.dumps(facts))
    item = Composites(tmp_path, 32, 5, seed=0, holes="d1")[0]
    assert set(item["entities"].unique().tolist()) == {0, 2}


def test_ordinary_holes_often_cover_a_whole_entity(photos):
    samples = Composites(photos, 64, 100, 5, "any", NANO_RECIPE)
    whole = 0
    for index in range(len(samples)):
        item = samples[index]
        shares = covered_share(item["mask"][0].numpy() > 0, item["entities"].numpy())
        whole += max(shares.values(), default=0.0) > 0.99
    assert whole > 30


@pytest.mark.parametrize("seed", range(20))
def test_an_entity_thinner_than_the_erosion_is_given_back_too(seed):
    entities = np.zeros((64, 64), dtype=int)
    entities[30, 5:60] = 1
    entities[10:12, 5:60] = 2
    hole = spare_entities([np.ones((64, 64), dtype=bool)], entities, np.random.default_rng(seed))
    assert max(covered_share(hole, entities).values()) <= MAX_COVERED


def test_parts_are_taken_back_only_on_the_entity_they_hide():
    entities = np.zeros((64, 64), dtype=int)
    entities[20:40, 20:40] = 1
    on, off = np.zeros((2, 64, 64), dtype=bool)
    on[18:42, 18:42] = True
    off[45:60, 5:25] = True
    hole = spare_entities([on, off], entities, np.random.default_rng(0))
    assert hole[off].all()
    assert covered_share(hole, entities)[1] <= MAX_COVERED


def test_a_hole_below_the_limit_is_left_alone():
    entities = np.zeros((64, 64), dtype=int)
    entities[20:40, 20:40] = 1
    half = np.zeros((64, 64), dtype=bool)
    half[20:40, 20:30] = True
    assert (spare_entities([half], entities, np.random.default_rng(0)) == half).all()


@pytest.mark.parametrize("draw", [strokes, boxes])
@pytest.mark.parametrize("size", [(48, 48), (64, 130), (512, 512)])
def test_parts_have_the_pictures_size_and_are_not_empty(draw, size):
    for seed in range(10):
        parts = draw(*size, np.random.default_rng(seed))
        assert all(part.shape == size and part.dtype == bool for part in parts)
        assert np.any(parts)


def test_entity_shapes_reach_the_area_they_were_asked_for():
    shape = np.zeros((100, 100), dtype=bool)
    shape[20:80, 20:80] = True
    areas = [np.any(entity_parts([shape], 200, 200, np.random.default_rng(seed)), axis=0).mean() for seed in range(30)]
    assert min(areas) >= 0.02
    assert max(areas) > 0.3


@pytest.mark.parametrize("kind", sorted(HOLES))
def test_samples_are_a_pure_function_of_seed_and_index(photos, kind):
    first, again = (Composites(photos, 48, 10, 3, kind, NANO_RECIPE) for _ in range(2))
    [first[index] for index in range(5)]
    for key, value in first[7].items():
        assert value.equal(again[7][key]), key
    assert not first[7]["image"].equal(Composites(photos, 48, 10, 4, kind, NANO_RECIPE)[7]["image"])


def test_a_stored_entity_map_follows_its_picture(tmp_path):
    ids = np.zeros((80, 100), dtype=np.uint8)
    ids[10:50, 20:70] = 3
    Image.fromarray(ids).save(tmp_path / "room_entities.png")
    Image.fromarray(np.repeat(ids[..., None] * 80, 3, axis=2)).save(tmp_path / "room.png")
    samples = Composites(tmp_path, 40, 20, seed=0, holes="d1")
    assert len(samples.stream.source) == 1
    for index in range(20):
        item = samples[index]
        bright = item["image"].mean(0) > item["image"].mean(0).mean()
        entity = item["entities"] == 3
        if 0.1 < entity.float().mean() < 0.9:
            assert (bright == entity).float().mean() > 0.95


def test_an_entity_map_of_another_size_is_refused(tmp_path):
    Image.new("RGB", (80, 80)).save(tmp_path / "room.png")
    Image.new("L", (20, 20)).save(tmp_path / "room_entities.png")
    with pytest.raises(ValueError, match="entity map must have .* size"):
        Composites(tmp_path, 32, 5, seed=0, holes="d1")[0]


def test_d1_holes_are_drawn_without_entities_too():
    shapes = [np.ones((20, 20), dtype=bool)]
    for seed in range(20):
        assert d1_hole(np.zeros((64, 64), dtype=int), shapes, np.random.default_rng(seed)).any()
