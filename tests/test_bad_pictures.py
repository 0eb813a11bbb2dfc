"""Broken data: it never enters a set and never stops a run, and a person is told of it once."""

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from eradiff_core.synthesis import Ranges
from training.data import pairs, stream
from training.data.composites import Composites
from training.data.ledger import Ledger, read_rows
from training.data.listing import list_pictures
from training.data.pairs import DrawnScenes, MatteScenes, Pairs
from training.data.recipe import Recipe
from training.data.reporting import COLUMNS
from training.data.sources import Folder
from training.data.views import PictureViews

GREYS = {f"{grey:03d}": grey for grey in range(40, 240, 20)}


def picture(path, grey):
    """A grey picture with a map and a matte of a square."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (96, 96), (grey,) * 3).save(path)
    ids = Image.new("L", (96, 96))
    ids.paste(1, (30, 30, 60, 60))
    ids.save(path.with_name(f"{path.stem}_entities.png"))
    ids.point(lambda value: 255 * value).save(path.with_name(f"{path.stem}_matte.png"))


@pytest.fixture
def folder(tmp_path):
    for name, grey in GREYS.items():
        picture(tmp_path / "photos" / f"{name}.png", grey)
    return tmp_path / "photos"


def grey_of(sample):
    image = sample["image"] if isinstance(sample, dict) else sample
    return round(float(image.flatten().median()) * 255)


SETS = {
    "composites": lambda folder: Composites(folder, 64, 40, 0, "d1"),
    "views": lambda folder: PictureViews(folder, 64, 40, 0, smooth_every=10**9),
    "pairs": lambda folder: Pairs(MatteScenes(folder, 64, 0), 40, 0, Ranges()),
    "drawn pairs": lambda folder: Pairs(DrawnScenes(folder, 64, 0), 40, 0, Ranges()),
}


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("where", ["below", "here", "above"])
def test_what_a_table_names_as_unreadable_is_in_no_set(folder, kind, where, monkeypatch):
    root, name = {
        "here": (folder, "100.png"),
        "above": (folder.parent, "photos/100.png"),
        "below": (folder / "deep", "red.png"),
    }[where]
    if where == "below":
        picture(folder / "deep" / "red.png", 100)
        (folder / "100.png").unlink()
    for table in ("entities.csv", "mattes.csv"):
        Ledger(root / table).add(name, "refused", "unreadable: it was when it was prepared")
    opened, read = set(), Folder.__getitem__

    def watched(source, number):
        opened.add(source.name(number))
        return read(source, number)

    monkeypatch.setattr(Folder, "__getitem__", watched)
    samples = SETS[kind](folder)
    for index in range(40):
        samples[index]
    left = {f"{grey}.png" for grey in GREYS} - {"100.png"}
    assert opened == left


def test_a_set_minds_its_own_tables_other_reasons_only(folder):
    Ledger(folder / "mattes.csv").add("100.png", "refused", "no usable object: 0 found")
    assert len(Folder(folder, "entities.csv")) == 10
    Ledger(folder / "entities.csv").add("120.png", "refused", "its map would have the name of another")
    assert {f"{grey}.png" for grey in GREYS} - {"120.png"} == {
        name for name in map(Folder(folder, "entities.csv").name, range(9))
    }
    assert len(Folder(folder)) == 10


def test_a_picture_that_turns_bad_is_replaced_by_the_next_and_listed_once(folder, tmp_path, capsys):
    listed = tmp_path / "run" / "left_out.csv"
    whole = Composites(folder, 64, 60, 0, "d2", Recipe(squares=True))
    before = [grey_of(whole[index]) for index in range(60)]
    hurt = Composites(folder, 64, 60, 0, "d2", Recipe(squares=True, left_out=listed))
    (folder / "100.png").write_bytes(b"no picture")
    (folder / "160_entities.png").write_bytes((folder / "160_entities.png").read_bytes()[:60])
    (folder / "060_entities.png").unlink()
    (folder / "220.png").unlink()
    bad = {100, 160, 60, 220}
    capsys.readouterr()
    after = [grey_of(hurt[index]) for index in range(60)]
    order = [hurt.stream.order.at(0, place) for place in range(100)]
    greys = list(GREYS.values())
    for index in range(60):
        following = next(greys[number] for number in order[index:] if greys[number] not in bad)
        assert after[index] == following and (before[index] in bad or after[index] == before[index])
    assert [grey_of(hurt[index]) for index in range(60)] == after
    said = capsys.readouterr().out
    assert all(said.count(f"left out {name}.png: ") == 1 for name in ("100", "160", "060", "220"))
    assert f"(4 in this run: {listed})" in said
    rows = read_rows(listed, COLUMNS)
    assert rows["100.png"][0].startswith("unreadable: ") and rows["220.png"][0].startswith("unreadable: ")
    assert rows["160.png"][0].startswith("its entity map is unreadable") and "no entity map" in rows["060.png"][0]

    for name in ("060_entities.png", "220.png"):
        (folder / name).write_bytes(b"")
    again = Composites(folder, 64, 60, 0, "d2", Recipe(squares=True, left_out=listed))  # the run is resumed
    assert [grey_of(again[index]) for index in range(60)] == after
    assert "left out 100" not in capsys.readouterr().out


def test_two_processes_list_a_bad_picture_once(folder, tmp_path, capfd):
    samples = Composites(folder, 64, 40, 0, "d1", Recipe(left_out=tmp_path / "left_out.csv"))
    (folder / "100.png").write_bytes(b"no picture")
    assert len(list(DataLoader(samples, 4, num_workers=2))) == 10
    assert capfd.readouterr().out.count("left out 100.png") == 1
    assert len(read_rows(tmp_path / "left_out.csv", COLUMNS)) == 1


def test_a_disk_that_is_gone_ends_a_run_with_a_sentence(folder, monkeypatch):
    samples = Composites(folder, 64, 40, 0, "d1")
    monkeypatch.setattr(stream, "MOST_IN_A_ROW", 5)
    for path in folder.glob("*.png"):
        path.unlink()
    with pytest.raises(ValueError, match="one of 5 pictures in a row must be usable, got none; .* still there?"):
        samples[0]


def test_pictures_that_are_all_too_small_are_not_blamed_on_the_disk(tmp_path):
    for number in range(3):
        Image.new("RGB", (50, 300)).save(tmp_path / f"{number}.png")
    with pytest.raises(ValueError, match=r"got none; the last is .*too small: .* at least 64 px, got 50 x 300\.$"):
        Composites(tmp_path, 64, 9, 0, "d1", Recipe(unlabelled="drawn"))[0]


def test_mattes_that_leave_no_room_end_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "MOST_VIEWS", 8)
    Image.new("RGB", (96, 96), (9, 99, 9)).save(tmp_path / "a.png")
    Image.new("L", (96, 96), 255).save(tmp_path / "a_matte.png")
    with pytest.raises(ValueError, match="leave room .* got 8 views in a row without: do the mattes show one object"):
        Pairs(MatteScenes(tmp_path, 64, 0), 9, 0, Ranges())[0]
    picture(tmp_path / "b.png", 90)
    assert Pairs(MatteScenes(tmp_path, 64, 0), 9, 0, Ranges())[0]["mask"].any(), "one that leaves room is enough"


def test_linked_folders_are_followed_but_not_in_circles(tmp_path):
    picture(tmp_path / "elsewhere" / "deep" / "1.png", 90)
    picture(tmp_path / "photos" / "2.png", 120)
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "circle").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "._2.png").write_bytes(b"what a Mac leaves")
    names = ["2.png", "link/deep/1.png"]
    assert [path.relative_to(tmp_path / "photos").as_posix() for path in list_pictures(tmp_path / "photos")] == names
    folder = Folder(tmp_path / "photos")
    assert [folder.name(number) for number in range(len(folder))] == names and folder.mapped.all()
    assert len({grey_of(sample) for sample in Composites(tmp_path / "photos", 64, 20, 0, "d2")}) == 2


def test_names_of_any_bytes_are_kept(tmp_path):
    for name in ("ä b,c.png", "\u2028.png"):
        Image.fromarray(np.zeros((70, 70, 3), np.uint8)).save(tmp_path / name)
    folder = Folder(tmp_path)
    assert {folder[number].picture.name for number in range(2)} == {"ä b,c.png", "\u2028.png"}
