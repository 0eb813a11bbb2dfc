"""What YOEO's sets are made of: pictures with maps and another picture's entities; what is made up is asked for."""

import argparse
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import chisquare

from training.data import holes
from training.data.composites import Composites
from training.data.holes import MAX_COVERED, covered_share, d1_hole
from training.data.recipe import NANO_FLAGS, NANO_RECIPE, PUBLISHED, Recipe, add_recipe_flags, recipe_of

DRAWN = Recipe(unlabelled="drawn")


def labelled(folder, name, ids, colour=(90, 120, 60)):
    """A picture of one colour with this map."""
    Image.new("RGB", ids.shape[::-1], colour).save(folder / f"{name}.png")
    Image.fromarray(ids.astype(np.uint8)).save(folder / f"{name}_entities.png")


def shapes(rng, size=96):
    """A map of some ellipses, the later over the earlier."""
    ids, (y, x) = np.zeros((size, size), dtype=int), np.indices((size, size))
    for number in range(1, rng.integers(2, 9)):
        cy, cx, ry, rx = *rng.uniform(0, size, 2), *rng.uniform(size / 16, size / 3, 2)
        ids[((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1] = number
    return ids


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve pictures with maps and one without."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(12):
        labelled(folder, f"{number:02d}", shapes(rng))
    Image.new("RGB", (96, 96), (255, 0, 0)).save(folder / "unknown.png")
    return folder


def test_no_entity_is_whole_under_2000_d1_holes(folder):
    samples, cover = Composites(folder, 64, 2000, 5, "d1"), []
    for index in range(len(samples)):
        item = samples[index]
        cover += covered_share(item["mask"][0].numpy() > 0, item["entities"].numpy()).values()
        assert 0 < item["mask"].mean() < 1
    print(
        f"{len(cover)} entities, the most covered by {max(cover):.3f}, {np.mean(np.array(cover) > 0.5):.1%} over half"
    )
    assert len(cover) > 5000 and max(cover) <= MAX_COVERED


def test_pictures_without_a_map_are_left_out_and_counted(folder, capsys):
    samples = Composites(folder, 64, 60, 0, "d1")
    assert "12 of 13 pictures have entity maps, the others are left out: " in capsys.readouterr().out
    assert not any((samples[index]["image"][0] > 0.9).any() for index in range(60)), "the red one"
    taken = Composites(folder, 64, 60, 0, "d1", DRAWN)
    assert "12 of 13 pictures have entity maps\n" in capsys.readouterr().out
    assert any((taken[index]["image"][0] > 0.9).any() for index in range(60))


def test_a_folder_without_any_map_is_refused_with_what_to_do(tmp_path):
    Image.new("RGB", (96, 96)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="got 1 and none has one: training.prepare_entities makes maps; --unlabelled"):
        Composites(tmp_path, 64, 60, 0, "d1")
    assert Composites(tmp_path, 64, 60, 0, "d1", DRAWN)[0]["mask"].any()


def test_nothing_is_made_up_unless_it_is_asked_for(folder):
    plain = Composites(folder, 64, 40, 0, "d1")
    for index in range(40):
        colours = plain[index]["image"].flatten(1).unique(dim=1)
        assert colours.shape[1] == 1 and (255 * colours[:, 0]).round().tolist() == [90, 120, 60]
    for changed in (replace(PUBLISHED, smooth_every=2), replace(PUBLISHED, colour_jitter=True)):
        made_up = Composites(folder, 64, 40, 0, "d1", changed)
        assert any(not made_up[index]["image"].equal(plain[index]["image"]) for index in range(40)), changed


def test_holes_are_shaped_like_another_pictures_entities(tmp_path):
    square, bar = np.zeros((96, 96), dtype=int), np.zeros((96, 96), dtype=int)
    square[30:60, 30:60], bar[46:50, 5:90] = 1, 1
    labelled(tmp_path, "a", square)
    labelled(tmp_path, "b", bar)
    samples, seen = Composites(tmp_path, 96, 20, 0, "d1"), []
    for index in range(0, 20, 2):  # the first of a pass, whose next one is the other
        rng = np.random.default_rng(index)
        _, entities, _ = samples.scene(rng, index, 0)
        pool = samples.shapes(entities, rng, index, 0)
        assert len(pool) == 2 and (pool[0] == (entities == 1)).all(), "its own and the other's"
        seen.append([mask.any(0).sum() > 2 * mask.any(1).sum() for mask in pool])
    assert {tuple(map(bool, kinds)) for kinds in seen} == {(True, False), (False, True)}
    drawn = Composites(tmp_path, 96, 20, 0, "d1", replace(PUBLISHED, drawn_shapes=True))
    assert len(drawn.shapes(square, np.random.default_rng(0), 0, 0)) == 4


def test_a_quarter_are_strokes_a_quarter_both_and_half_are_entities(monkeypatch):
    used, kinds = [], {"": 0, "l": 0, "e": 0, "le": 0}
    strokes, entity_parts = holes.lama_parts, holes.entity_parts
    monkeypatch.setattr(holes, "lama_parts", lambda *a: (used.append("l"), strokes(*a))[1])
    monkeypatch.setattr(holes, "entity_parts", lambda *a: (used.append("e"), entity_parts(*a))[1])
    for seed in range(2000):
        used.clear()
        d1_hole(np.zeros((32, 32), dtype=int), [np.ones((9, 9), dtype=bool)], np.random.default_rng(seed))
        kinds["".join(used[-2:] if used[-2:] == ["l", "e"] else used[-1:])] += 1
    counts = [kinds["l"], kinds["le"], kinds["e"]]
    assert chisquare(counts, [500, 500, 1000]).pvalue > 0.001, counts


def test_a_picture_whose_things_leave_no_room_does_not_hang():
    ids = (np.indices((32, 32)) // 2 * np.array([16, 1])[:, None, None]).sum(0) + 1  # all is given back
    assert not d1_hole(ids, [np.ones((9, 9), dtype=bool)], np.random.default_rng(0)).any()


def test_the_nanos_recipe_is_its_flags_and_the_papers_is_none():
    parser = argparse.ArgumentParser()
    add_recipe_flags(parser)
    parser.add_argument("--out", default="run")
    assert replace(recipe_of(parser.parse_args(NANO_FLAGS.split())), left_out=None) == NANO_RECIPE
    assert replace(recipe_of(parser.parse_args([])), left_out=None) == PUBLISHED
