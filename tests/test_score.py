"""Scoring a folder: the numbers are recomputed, a stopped run goes on, and whatever is broken is one sentence."""

import csv
import json
import random
import re
import resource
import weakref
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from score_folders import BOX, flags, make_set, save

from evaluation import score
from evaluation.loading import LOADERS
from evaluation.scorer import Scorer

COLUMNS = ["psnr", "psnr_hole", "psnr_outside", "ssim", "ssim_hole", "ssim_outside"]


def run(root: Path, *more: str) -> int:
    return score.main(score.parse_args(flags(root, *more)))


def scores(root: Path) -> dict:
    return json.loads((root / "out/scores.json").read_text())


def rows(root: Path) -> dict[tuple[str, str], dict[str, float]]:
    with open(root / "out/pictures.csv", newline="") as file:
        return {
            (row.pop("picture"), row.pop("method")): {k: float(v) for k, v in row.items() if v}
            for row in csv.DictReader(file)
        }


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    root = make_set(tmp_path_factory.mktemp("scored"))
    (root / "near/erased.csv").write_text("result,seconds\n" + "".join(f"a/p{i}.png,{i}.5\n" for i in range(4)))
    assert run(root) == 0
    return root


def test_the_csv_has_a_row_a_picture_and_method(scored: Path):
    assert set(rows(scored)) == {(f"a/p{i}", method) for i in range(4) for method in ("near", "grey")}
    assert all(set(COLUMNS) <= set(row) for row in rows(scored).values())
    assert {row.get("seconds") for (_, method), row in rows(scored).items() if method == "grey"} == {None}


def test_every_psnr_is_what_a_few_lines_find(scored: Path):
    inside = np.zeros((32, 48), bool)
    inside[BOX] = True
    for (picture, method), row in rows(scored).items():
        truth, result = (
            np.asarray(Image.open(path), float) / 255
            for path in (scored / f"set/truth/{picture}.png", scored / f"{method}/{picture}.png")
        )
        squared = (truth - result) ** 2
        assert row["psnr"] == pytest.approx(-10 * np.log10(max(1e-10, squared.mean())), abs=1e-4)
        assert row["psnr_hole"] == pytest.approx(-10 * np.log10(max(1e-10, squared[inside].mean())), abs=1e-4)
        assert row["psnr_outside"] == 100


def test_means_intervals_and_differences_are_those_of_the_csv(scored: Path):
    found = scores(scored)
    for column in COLUMNS:
        of = {m: np.array([rows(scored)[f"a/p{i}", m][column] for i in range(4)]) for m in ("near", "grey")}
        for method, values in of.items():
            said = found["table"][method][column]
            assert said["mean"] == pytest.approx(values.mean(), rel=1e-12) and said["n"] == 4
            assert values.min() <= said["low"] <= said["mean"] <= said["high"] <= values.max()
        apart = of["grey"] - of["near"]
        said = found["differences"]["grey"][column]
        assert said["mean"] == pytest.approx(apart.mean(), abs=1e-12)
        assert (said["above"], said["below"]) == ((apart > 0).sum(), (apart < 0).sum())
    assert found["table"]["near"]["seconds"]["mean"] == 2.0 and found["table"]["grey"]["seconds"]["n"] == 0


def test_the_report_says_the_numbers_of_the_json(scored: Path):
    page = (scored / "out/report.html").read_text()
    for method in ("near", "grey"):
        line = re.search(rf"<tr><th>{method}</th>(.*?)</tr>", page)[1]
        shown = [float(value) for value in re.findall(r'<td data-value="([^"]+)"', line)]
        assert shown[:6] == [scores(scored)["table"][method][column]["mean"] for column in COLUMNS]
    assert page.count("<article") == 4 and page.count("data:image/jpeg;base64,") == 4 * (5 + 4)  # layers, holes
    assert not re.search(r'(src|href)="(?!data:)', page), "a report needs nothing beside it"


def test_the_report_shows_the_hole_of_every_picture_beside_one_another(scored: Path):
    page = (scored / "out/report.html").read_text()
    card = re.search(r'<article data-name="a/p1">(.*?)</article>', page, re.DOTALL)[1]
    shown = dict(re.findall(r'alt="a/p1, the hole in (\w+)" src="data:image/jpeg;base64,([^"]+)"', card))
    assert list(shown) == ["before", "truth", "near", "grey"]
    grey = np.asarray(Image.open(BytesIO(b64decode(shown["grey"]))).convert("RGB")).astype(int)
    assert grey.shape == (30, 36, 3)  # the box, 12 x 18, and 9 px around it, less what lies beyond the picture
    assert np.abs(grey[12:18, 12:24] - 128).mean() < 12 < 30 < np.abs(grey[:4] - 128).mean()


def test_many_sentences_are_folded_and_few_stand_open(tmp_path: Path):
    root, pages = make_set(tmp_path, 12), []
    for first, last in ((0, 0), (0, 1), (1, 12)):
        for i in range(first, last):
            (root / f"set/truth/a/p{i}.png").unlink()
        run(root)
        pages.append((root / "out/report.html").read_text())
    assert "What went wrong" not in pages[0]
    assert "<h2>What went wrong</h2><ul><li>a/p0: it has no truth" in pages[1]
    assert "<details><summary>12 sentences</summary><ul><li>a/p0: it has no truth" in pages[2]


def test_a_run_that_was_stopped_anywhere_gives_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = make_set(tmp_path, 12)
    assert run(root) == 0
    whole = (root / "out/scores.json").read_bytes(), (root / "out/pictures.csv").read_bytes()
    calm, rng, calls = LOADERS["fidelity"], random.Random(0), []

    def interrupted(args) -> Scorer:
        scorer = calm(args)

        def measure(scene):
            calls.append(1)
            found = scorer.measure(scene)
            if rng.random() < 0.6:
                raise KeyboardInterrupt  # after the work and before it is kept: that work is done again
            return found

        return Scorer(scorer.name, scorer.columns, measure, scorer.made_by, scorer.needs_truth)

    monkeypatch.setitem(LOADERS, "fidelity", interrupted)
    codes = []
    while not codes or codes[-1] == score.INTERRUPTED:
        codes.append(run(root, "--out", str(root / "stopped")))
    assert len(codes) > 20 and codes[-1] == 0
    assert len(calls) == 24 + len(codes) - 1, "nothing that was kept is found twice"
    assert ((root / "stopped/scores.json").read_bytes(), (root / "stopped/pictures.csv").read_bytes()) == whole


def test_what_has_changed_is_found_again_and_nothing_else(tmp_path: Path):
    root = make_set(tmp_path, 2)
    run(root)
    before = rows(root)
    save(root / "grey/a/p1.png", np.zeros((32, 48, 3), np.uint8))
    run(root)
    assert [key for key in before if rows(root)[key] != before[key]] == [("a/p1", "grey")]


def test_a_corrupt_picture_a_missing_truth_and_an_empty_mask_are_a_sentence_each(tmp_path: Path, capsys):
    root = make_set(tmp_path, 5)
    (root / "near/a/p0.png").write_bytes((root / "near/a/p0.png").read_bytes()[:80])
    (root / "set/truth/a/p1.png").unlink()
    save(root / "set/mask/a/p2.png", np.zeros((32, 48), np.uint8))
    save(root / "set/truth/a/p3.png", np.zeros((8, 8, 3), np.uint8))
    assert run(root) == 1
    told = scores(root)["problems"]
    assert [sentence.split(":")[0] for sentence in told] == [
        "a/p1", "a/p0, near", "a/p2, near", "a/p2, grey", "a/p3, near", "a/p3, grey"
    ]  # fmt: skip
    assert "no truth" in told[0] and "p0.png" in told[1] and "p2.png" in told[2] and "p3.png" in told[4]
    assert all(sentence in capsys.readouterr().err for sentence in told[:1])
    assert scores(root)["table"]["grey"]["psnr"]["n"] == 2  # p0 and p4
    assert ("a/p1", "grey") in rows(root) and "psnr" not in rows(root)["a/p1", "grey"]


def test_a_picture_too_large_for_memory_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, calm = make_set(tmp_path, 2), LOADERS["fidelity"]

    def small(args) -> Scorer:
        scorer = calm(args)

        def measure(scene):
            if scene.result.mean() == scene.truth.mean():  # the first of "near" is the truth itself
                raise MemoryError
            return scorer.measure(scene)

        return Scorer(scorer.name, scorer.columns, measure, scorer.made_by, scorer.needs_truth)

    monkeypatch.setitem(LOADERS, "fidelity", small)
    assert run(root) == 1
    told = scores(root)["problems"]
    assert len(told) == 1 and told[0].endswith(", near: memory is too small for fidelity.")
    assert scores(root)["table"]["grey"]["psnr"]["n"] == 2


def test_a_full_disk_is_a_sentence_and_the_table_is_printed(tmp_path: Path, capsys):
    root = make_set(tmp_path, 4)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # the system refuses to let any file grow beyond
    try:
        assert run(root) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = capsys.readouterr()
    assert said.err.count("cache.sqlite cannot be written") == 1 and "report.html cannot be written" in said.err
    assert "psnr_hole" in said.out and "near" in said.out
    assert run(root) == 0 and scores(root)["table"]["near"]["psnr"]["n"] == 4


def test_a_cache_on_a_full_disk_is_told_once_and_the_run_goes_on(tmp_path: Path):
    from evaluation.cache import Cache

    told = []
    cache = Cache(tmp_path / "cache.sqlite", told.append)
    cache.table.execute("PRAGMA max_page_count = 3")
    values = {f"{i}": np.full(2000, i, np.float32) for i in range(4)}
    for key, value in values.items():
        cache.put(key, value)
    assert len(told) == 1 and "make room" in told[0]
    assert all(np.array_equal(cache.get(key), value) for key, value in values.items())


def test_pictures_are_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, seen, most = make_set(tmp_path, 5), [], []
    calm = LOADERS["fidelity"]

    def watched(args) -> Scorer:
        scorer = calm(args)

        def measure(scene):
            seen.append(weakref.ref(scene))
            most.append(sum(ref() is not None for ref in seen))
            return scorer.measure(scene)

        return Scorer(scorer.name, scorer.columns, measure, scorer.made_by, scorer.needs_truth)

    monkeypatch.setitem(LOADERS, "fidelity", watched)
    assert run(root) == 0 and len(seen) == 10 and max(most) <= 2


def test_metrics_without_their_weights_are_named_with_the_line_that_gets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    root = make_set(tmp_path, 1)
    names = ["lpips", "sundries", "cfd", "remove", "rc_s", "fid", "fid_torchvision", "cmmd"]
    assert run(root, "--metrics", *names) == 0
    absent = scores(root)["absent"]
    assert set(absent) == set(names) and scores(root)["metrics"] == {}
    assert all("Get it: " in why or "Get one: " in why for why in absent.values())
    page = (root / "out/report.html").read_text()
    assert all(f"<b>{name}</b>" in page for name in names)


def test_wrong_flags_are_a_sentence_and_nothing_is_tried(tmp_path: Path, capsys):
    root = make_set(tmp_path, 1)
    assert run(root, "--set", str(root / "nowhere")) == 2
    assert run(root, "--metrics", "sundries", "--detector", str(root / "no.safetensors")) == 2
    assert run(root, "--device", "nowhere") == 2
    said = capsys.readouterr().err
    assert "no.safetensors" in said and "--device nowhere cannot be used here" in said and not (root / "out").exists()
    with pytest.raises(SystemExit):
        score.parse_args(["--set", "x", "--out", "y", "--results", "only_a_folder"])


def test_without_truths_what_needs_them_is_absent(tmp_path: Path):
    root = make_set(tmp_path, 1)
    where = ["--pictures", str(root / "set/input"), "--masks", str(root / "set/mask"), "--out", str(root / "out")]
    assert score.main(score.parse_args([*where, "--results", f"a={root / 'grey'}", "--metrics", "fidelity"])) == 0
    assert scores(root)["absent"] == {"fidelity": "needs the truth. Give --truths DIR."}


def test_a_result_of_another_size_is_brought_to_the_pictures_and_that_is_told(tmp_path: Path):
    root = make_set(tmp_path, 2)
    Image.open(root / "near/a/p0.png").resize((96, 64)).save(root / "near/a/p0.png")
    assert run(root) == 0 and scores(root)["stretched"] == {"near": 1}
    assert "1 picture of near came in another size" in (root / "out/report.html").read_text()
