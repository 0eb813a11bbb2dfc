"""Shards: the same samples as the folder they were written from, in an order that a resumed run finds again."""

import json
import tarfile

import numpy as np
import pytest
import webdataset
from PIL import Image

from training import prepare_shards
from training.data.composites import Composites
from training.data.labelled import read_labelled
from training.data.recipe import Recipe
from training.data.shards import Shards
from training.data.stream import Stream
from training.prepare_shards import write_shards

COUNT = 7
TAKEN = Recipe(unlabelled="drawn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven flat pictures of different grey; the even ones have a map."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(COUNT):
        Image.new("RGB", (90, 80), (30 * number,) * 3).save(folder / f"p.{number}.png")
        if number % 2 == 0:
            ids = np.zeros((80, 90), dtype=np.uint16)
            ids[20:60, 20:70], ids[:10] = 300 + number, 7
            Image.fromarray(ids).save(folder / f"p.{number}_entities.png")
            facts = [{"id": 300 + number, "score": 1.0, "thing": 1.0}, {"id": 7, "score": 1.0, "thing": 0.1}]
            (folder / f"p.{number}_entities.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="module")
def pattern(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards") / "set"
    prepare_shards.main(prepare_shards.parse_args(["--images", str(folder), "--out", str(out), "--per-shard", "3"]))
    return f"{out}-{{000000..000002}}.tar"


def greys(pattern, seed, places):
    """Which pictures stand at these places of the stream, by their number."""
    source = Shards(pattern)
    stream = Stream(source, np.arange(len(source)), [(64, 64)], 1, seed)
    return [stream.read(place, read_labelled).picture.getpixel((0, 0))[0] // 30 for place in places]


def test_the_webdataset_library_reads_what_is_written(pattern):
    samples = list(webdataset.WebDataset(pattern, shardshuffle=False))
    assert len(samples) == COUNT
    assert sorted(key for key in samples[0] if not key.startswith("_")) == ["entities.json", "entities.png", "png"]
    assert {key for key in samples[1] if not key.startswith("_")} == {"png"}


def test_an_epoch_shows_every_picture_once_and_the_next_one_in_another_order(pattern):
    first, second = greys(pattern, 0, range(COUNT)), greys(pattern, 0, range(COUNT, 2 * COUNT))
    assert sorted(first) == sorted(second) == list(range(COUNT))
    assert first != second
    assert first != greys(pattern, 1, range(COUNT))


def test_a_place_holds_the_same_picture_whatever_was_drawn_before(pattern):
    assert greys(pattern, 0, [19, 3, 8]) == [greys(pattern, 0, [place])[0] for place in (19, 3, 8)]


def test_composites_take_shards_and_keep_things_apart_from_stuff(pattern):
    samples = Composites(pattern, 40, 3 * COUNT, seed=0, holes="d2", recipe=TAKEN)
    ids = set()
    for index in range(len(samples)):
        item = samples[index]
        ids |= set(item["entities"].unique().tolist())
        assert item["mask"].equal(samples[index]["mask"])
    assert {300, 302, 304, 306} <= ids
    assert 7 not in ids


def test_maps_are_read_as_from_the_folder(folder, pattern):
    source, seen = Shards(pattern), 0
    for place in range(COUNT):
        sample = read_labelled(source[place])
        number = sample.picture.getpixel((0, 0))[0] // 30
        assert (sample.ids is None) == (number % 2 == 1)
        if sample.ids is not None:
            with Image.open(folder / f"p.{number}_entities.png") as stored:
                ids = np.array(stored)
            assert np.array_equal(np.array(sample.ids), np.where(ids == 7, 0, ids)), "stuff is nothing"
            seen += 1
    assert seen == 4


def test_shards_without_pictures_are_refused(tmp_path):
    tarfile.open(tmp_path / "empty.tar", "w").close()
    with pytest.raises(ValueError, match="must hold pictures"):
        Shards(str(tmp_path / "empty.tar"))


def test_files_of_another_folder_do_not_mix(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "in" / name / "same.jpg")
    assert write_shards(tmp_path / "in", tmp_path / "out" / "set", 10) == 2
    assert len(Shards(str(tmp_path / "out" / "set-000000.tar"))) == 2
