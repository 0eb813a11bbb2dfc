"""Shards: the same samples as the folder they were written from, in an order that a resumed run finds again."""

import json
import tarfile

import numpy as np
import pytest
import webdataset
from PIL import Image
from training_runs import given_to

from eradiff_core.synthesis import Ranges
from training import prepare_shards
from training.data import shard_index
from training.data.composites import Composites
from training.data.labelled import read_labelled
from training.data.ledger import Ledger
from training.data.pairs import MatteScenes, Pairs
from training.data.recipe import Recipe
from training.data.shards import Shards
from training.data.stream import Stream, source_of
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
            Image.fromarray((ids > 7).astype(np.uint8) * 255).save(folder / f"p.{number}_matte.png")
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
    kinds = sorted(tuple(sorted(key for key in sample if not key.startswith("_"))) for sample in samples)
    assert kinds == [("entities.json", "entities.png", "matte.png", "png")] * 4 + [("png",)] * 3


def stored(images):
    """The pictures of shards as they lie there, by their number."""
    return [read_labelled(files).picture.getpixel((0, 0))[0] // 30 for files in Shards(images)]


def test_shards_are_written_in_an_order_that_is_drawn(folder, pattern, tmp_path):
    written = stored(pattern)
    assert sorted(written) == list(range(COUNT)) and written != sorted(written)
    write_shards(folder, tmp_path / "again", 3)
    write_shards(folder, tmp_path / "other", 3, seed=1)
    assert stored(tmp_path / "again-*.tar") == written != stored(tmp_path / "other-*.tar")


def test_refused_pictures_are_not_written_and_twins_have_no_map_of_another(tmp_path):
    for name in ("dog.jpg", "dog.png", "bad.png"):
        Image.new("RGB", (80, 80), (9, 9, 9)).save(tmp_path / name)
    Image.new("L", (80, 80), 1).save(tmp_path / "dog_entities.png")
    Ledger(tmp_path / "mattes.csv").add("bad.png", "refused", "unreadable: it was")
    assert write_shards(tmp_path, tmp_path / "out" / "set", 10) == 2
    assert sorted(Shards(tmp_path / "out").mapped) == [False, True]


def test_a_file_that_cannot_be_read_is_left_out_and_stops_no_writing(tmp_path, capsys):
    for name in "abc":
        Image.new("RGB", (80, 80)).save(tmp_path / f"{name}.png")
    (tmp_path / "d.png").symlink_to("nowhere.png")
    (tmp_path / "a_matte.png").mkdir()
    argv = ["--images", str(tmp_path), "--out", str(tmp_path / "out" / "set"), "--per-shard", "3"]
    prepare_shards.main(prepare_shards.parse_args(argv))
    said = capsys.readouterr().out
    assert "left out a.png: unreadable" in said and "left out d.png: unreadable" in said
    assert "wrote 2 pictures" in said and len(Shards(tmp_path / "out")) == 2


def test_a_start_reads_the_index_beside_each_shard_and_not_the_shard(pattern, monkeypatch):
    listed = Shards(pattern)
    assert all(isinstance(table, np.memmap) for table in listed.tables), "processes share one copy"
    monkeypatch.setattr(shard_index, "list_samples", None)
    again = Shards(pattern)
    assert np.array_equal(again.sizes(), listed.sizes()) and (again.sizes() == (90, 80)).all()


def test_an_index_of_another_shard_or_a_torn_one_is_made_again(folder, tmp_path):
    write_shards(folder, tmp_path / "set", 10)
    write_shards(folder, tmp_path / "other", 4)
    shard, index = tmp_path / "set-000000.tar", tmp_path / "set-000000.index.npy"
    good = index.read_bytes()
    for stale in (b"", good[:-8], good[:200]):
        index.write_bytes(stale)
        assert len(Shards(shard)) == COUNT and index.read_bytes() == good
    shard.write_bytes((tmp_path / "other-000000.tar").read_bytes())
    assert len(Shards(shard)) == 4


def test_a_shard_that_breaks_off_serves_up_to_there(folder, tmp_path, capsys):
    write_shards(folder, tmp_path / "set", 10)
    shard = tmp_path / "set-000000.tar"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    source = Shards(shard)
    assert 0 < len(source) < COUNT and "breaks off after" in capsys.readouterr().out
    stream = Stream(source, np.arange(len(source)), [(64, 64)], 1, 0)
    assert [stream.read(place, read_labelled).picture.size for place in range(20)] == [(90, 80)] * 20


def test_eradiff_reads_shards_too(pattern):
    one, two = (Pairs(MatteScenes(pattern, 48, 0), 4, 0, Ranges()) for _ in range(2))
    assert len(one.scene.stream.order) == 4, "those with mattes"
    assert one[2]["mask"].any() and one[2]["mask"].equal(two[2]["mask"])


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("images", ["folder", "pattern"])
def test_the_processes_of_a_run_see_each_sample_once_an_epoch(images, processes, request):
    """Shards of 3, 3 and 1 pictures."""
    source = source_of(request.getfixturevalue(images))
    stream = Stream(source, np.arange(COUNT), [(64, 64)], 2 * processes, 0)
    given = given_to(processes, 2, 2 * processes * COUNT)
    seen = {index: source.name(stream.order.at(*stream.order.place(index))) for index in given}
    names = [seen[index] for index in range(2 * processes * COUNT)]
    for start in range(0, len(names), COUNT):
        assert len(set(names[start : start + COUNT])) == COUNT


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
