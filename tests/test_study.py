"""Sheets for people: blinded, in an order of each person's own; and the counting of what comes back."""

import json
from pathlib import Path

import pytest
from score_folders import make_set

from evaluation.study import main, parse_args


def make(root: Path, people: int = 2) -> dict:
    results = [f"near={root / 'near'}", f"grey={root / 'grey'}"]
    where = ["make", "--set", str(root / "set"), "--out", str(root / "study"), "--people", str(people)]
    assert main(parse_args([*where, "--results", *results])) == 0
    return json.loads((root / "study/key.json").read_text())


def answer(root: Path, person: str, answers: list[str]) -> str:
    path = root / f"answers_{person}.json"
    path.write_text(json.dumps({"person": int(person), "answers": answers}))
    return str(path)


def test_each_person_has_every_pair_in_an_order_of_their_own_and_no_names(tmp_path: Path):
    key = make(make_set(tmp_path, 8))
    assert {name for name, *_ in key["1"]} == {name for name, *_ in key["2"]} and key["1"] != key["2"]
    assert {tuple(sides) for _, *sides in key["1"]} == {("near", "grey"), ("grey", "near")}
    for person in key:
        page = (tmp_path / f"study/person_{person}.html").read_text()
        assert page.count("<fieldset>") == 8 and page.count("data:image/jpeg") == 24
        words = "".join(part.split('"', 1)[-1] for part in page.split("base64,"))  # without the pictures
        assert not any(told in words for told in ("near", "grey", "a/p", ".png"))


def test_counting_undoes_the_sides(tmp_path: Path, capsys):
    root = make_set(tmp_path, 8)
    key = make(root)
    always_near = {p: ["left" if left == "near" else "right" for _, left, _ in shown] for p, shown in key.items()}
    files = [answer(root, person, answers) for person, answers in always_near.items()]
    assert main(parse_args(["count", "--out", str(root / "study"), *files])) == 0
    found = json.loads((root / "study/counted.json").read_text())["grey against near"]
    assert (found["wins"], found["losses"], found["ties"], found["mean"]) == (0, 16, 0, -1)
    files[1] = answer(root, "2", ["same"] * 8)
    main(parse_args(["count", "--out", str(root / "study"), *files]))
    found = json.loads((root / "study/counted.json").read_text())["grey against near"]
    assert (found["losses"], found["ties"], found["mean"], found["agreement"]) == (8, 8, -0.5, 0)


@pytest.mark.parametrize("answers", [["left"], ["left", "middle"], ["left", None]])
def test_a_sheet_that_is_not_filled_is_refused(tmp_path: Path, answers: list, capsys):
    root = make_set(tmp_path, 2)
    make(root)
    assert main(parse_args(["count", "--out", str(root / "study"), answer(root, "1", answers)])) == 2
    assert "must answer 2 questions" in capsys.readouterr().err
