"""Which files belong together, and what is said of those that are missing."""

from pathlib import Path

import pytest
from score_folders import make_set

from evaluation.folders import TIMES, find_cases, seconds_in
from training.erasing.pairs import TABLE
from training.erasing.table import COLUMNS


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_set_is_paired_by_its_names_below_each_folder(tmp_path: Path):
    root = make_set(tmp_path, 2)
    cases, problems = find_cases(root / "set/input", root / "set/mask", {"grey": root / "grey"}, root / "set/truth")
    assert [case.name for case in cases] == ["a/p0", "a/p1"]
    assert cases[0].results == {"grey": root / "grey/a/p0.png"} and cases[1].truth == root / "set/truth/a/p1.png"
    assert cases[0].effect is None and problems == []


def test_in_one_folder_the_endings_tell_mask_truth_and_effect(tmp_path: Path):
    touch(tmp_path, "all/dog.jpg", "all/dog_mask.png", "all/dog_gt.png", "all/dog_effect.png", "mine/dog.webp")
    everything = tmp_path / "all"
    (case,), problems = find_cases(everything, everything, {"mine": tmp_path / "mine"}, everything, everything)
    assert (case.mask.name, case.truth.name, case.effect.name) == ("dog_mask.png", "dog_gt.png", "dog_effect.png")
    assert case.results["mine"].name == "dog.webp" and problems == []


def test_formats_may_differ_and_sub_folders_with_one_name_do_not_mix(tmp_path: Path):
    touch(tmp_path, "in/a/dog.jpg", "in/b/dog.jpg", "m/a/dog.png", "m/b/dog_mask.webp", "r/a/dog.png", "r/b/dog.jpg")
    cases, problems = find_cases(tmp_path / "in", tmp_path / "m", {"r": tmp_path / "r"})
    assert [str(case.results["r"].relative_to(tmp_path)) for case in cases] == ["r/a/dog.png", "r/b/dog.jpg"]
    assert problems == []


def test_what_is_missing_is_one_sentence_and_the_rest_is_there(tmp_path: Path):
    touch(tmp_path, "in/a.png", "in/b.png", "in/c.png", "r/a.png", "t/c.png", "e/c.png")
    touch(tmp_path, "m/a.png", "m/b.png", "m/b.jpg", "m/c.png")
    results = {"r": tmp_path / "r"}
    cases, problems = find_cases(tmp_path / "in", tmp_path / "m", results, tmp_path / "t", tmp_path / "e")
    assert [case.name for case in cases] == ["a", "c"] and cases[0].effect is None  # which is nothing to tell
    assert problems == [
        f"a: it has no truth in {tmp_path / 't'}.",
        f"b is left out: mask is there more than once, take away all but one: "
        f"{tmp_path / 'm/b.jpg'}, {tmp_path / 'm/b.png'}.",
        f"c: it has no result in {tmp_path / 'r'}.",
    ]


def test_a_folder_without_pictures_and_one_that_is_not_there_are_refused(tmp_path: Path):
    touch(tmp_path, "in/readme.txt", "m/a.png")
    with pytest.raises(ValueError, match="holds no pictures"):
        find_cases(tmp_path / "in", tmp_path / "m", {})
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere"):
        find_cases(tmp_path / "m", tmp_path / "nowhere", {})


def test_the_table_of_training_erase_is_the_one_that_is_read():
    assert TIMES == TABLE and {"result", "seconds"} <= set(COLUMNS)


def test_seconds_are_read_from_the_table_of_results(tmp_path: Path):
    (tmp_path / "erased.csv").write_text("picture,result,seconds\n../in/a/dog.jpg,a/dog.jpg,1.25\n../in/cat.jpg,,\n")
    assert seconds_in(tmp_path) == {"a/dog": 1.25}
    (tmp_path / "erased.csv").write_text("picture,result,seconds\n../in/a/dog.jpg,a/dog.jpg,soon\n")
    with pytest.raises(ValueError, match="erased.csv must have its seconds in numbers"):
        seconds_in(tmp_path)
    (tmp_path / "none").mkdir()
    assert seconds_in(tmp_path / "none") == {}


def test_a_link_back_to_a_folder_above_is_not_followed(tmp_path: Path):
    touch(tmp_path, "in/a/dog.jpg", "m/a/dog.png")
    (tmp_path / "in/a/again").symlink_to(tmp_path / "in", target_is_directory=True)
    cases, problems = find_cases(tmp_path / "in", tmp_path / "m", {})
    assert [case.name for case in cases] == ["a/dog"] and problems == []
