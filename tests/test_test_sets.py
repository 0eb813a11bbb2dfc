"""The published sets, from small folders in exactly the layout in which their files come."""

import csv
import json
import sys
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle
from score_folders import save

from evaluation import published_sets
from evaluation.folders import find_cases, with_boxes
from evaluation.scene import Given, in_pixels
from evaluation.test_sets import main, parse_args

SIZE = (40, 60)


def picture(path: Path, value: int = 90) -> Path:
    return save(path, np.full((*SIZE, 3), value, np.uint8))


def hole(box: tuple[int, int, int, int] = (10, 20, 15, 35)) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[box[0] : box[1], box[2] : box[3]] = 255
    return mask


def build(name: str, root: Path, *more: str) -> tuple[int, dict]:
    code = main(parse_args([name, "--from", str(root / "published"), "--out", str(root / "set"), *more]))
    said = root / "set/set.json"
    return code, json.loads(said.read_text()) if said.exists() else {}


def annotations(encoded: bool) -> dict:
    """A large thing and a small one, a crowd, a speck, and a picture that is not there."""
    boxes = {1: (10, 20, 15, 35), 2: (0, 4, 0, 20), 3: (0, 40, 0, 50), 4: (1, 3, 1, 3), 5: (10, 20, 15, 35)}
    of_image, found = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3}, []
    for number, (top, bottom, left, right) in boxes.items():
        polygon = [[left, top, right, top, right, bottom, left, bottom]]
        encoding = rle.encode(np.asfortranarray(hole(boxes[number]) // 255))
        counts = {"size": list(SIZE), "counts": encoding["counts"].decode()}
        found.append({
            "id": number, "image_id": of_image[number], "category_id": 1, "iscrowd": int(number == 3),
            "segmentation": counts if encoded else polygon, "bbox": [left, top, right - left, bottom - top],
            "area": (bottom - top) * (right - left),
        })  # fmt: skip
    images = [{"id": i, "file_name": f"{i:012d}.jpg", "height": 40, "width": 60} for i in (3, 2, 1)]
    return {"images": images, "annotations": found, "categories": [{"id": 1, "name": "dog"}]}


@pytest.mark.parametrize(
    ("name", "where", "pictures"),
    [
        ("coco", "annotations/instances_val2017.json", "val2017"),
        ("entityseg", "entityseg_insseg_val.json", "entity_01_11580/images_merge"),
    ],
)
def test_of_a_coco_file_every_picture_gives_its_largest_thing(tmp_path: Path, name: str, where: str, pictures: str):
    published = tmp_path / "published"
    (published / where).parent.mkdir(parents=True, exist_ok=True)
    (published / where).write_text(json.dumps(annotations(encoded=name == "entityseg")))
    for i in (1, 2):
        picture(published / pictures / f"{i:012d}.jpg")
    code, said = build(name, tmp_path)
    assert code == 0 and said["pictures"] == 1 and said["reported_by_the_papers"] in (3985, 670)
    assert said["refusals"] == {
        "000000000002": "it has no thing that covers 1% to 50% of it",
        "000000000003": "its picture is not there",
    }
    assert (np.asarray(Image.open(tmp_path / "set/mask/000000000001.png")) == hole()).all()
    assert (tmp_path / "set/input/000000000001.jpg").read_bytes() == (
        published / pictures / "000000000001.jpg"
    ).read_bytes()


def open_images(root: Path, count: int) -> None:
    published, rows = root / "published", []
    for i in range(count):
        picture(published / f"images/{i:016x}.jpg")
        for label in ("01yrx", "0bt9lr"):
            path = f"{i:016x}_m{label}_{i:08x}.png"
            save(published / "masks" / path, hole((5 + i, 25, 10, 30)))
            rows.append(f"{path},{i:016x},/m/{label},{i:08x},0.166667,0.500000,0.125000,0.625000,0.88541,")
    head = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"
    (published / "test-annotations-object-segmentation.csv").write_text("\n".join([head, *rows]) + "\n")


def test_of_open_images_as_many_are_drawn_as_asked_for_and_the_list_is_the_seeds(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(published_sets, "OPEN_IMAGES_COUNT", 4)
    open_images(tmp_path, 9)
    lists = {}
    for run, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert main(parse_args(["open-images", "--from", str(tmp_path / "published"), "--out", str(tmp_path / run),
                                "--seed", seed])) == 0  # fmt: skip
        lists[run] = (tmp_path / run / "list.csv").read_text()
    assert lists["a"] == lists["b"] != lists["c"] and lists["a"].count("\n") == 5
    said = json.loads((tmp_path / "a/set.json").read_text())
    assert said["list_sha256"] == sha256(lists["a"].encode()).hexdigest() and said["seed"] == 0
    for row in csv.DictReader(lists["a"].splitlines()):
        assert row["picture_sha256"] == sha256((tmp_path / f"a/input/{row['name']}.jpg").read_bytes()).hexdigest()


def test_open_images_boxes_are_what_local_fid_sees(tmp_path: Path):
    open_images(tmp_path, 1)
    assert build("open-images", tmp_path)[0] == 0
    cases, problems = find_cases(tmp_path / "set/input", tmp_path / "set/mask", {})
    (case,) = with_boxes(cases, tmp_path / "set/boxes.csv")
    scene = Given.read(case).scene_of(torch.zeros(1, 3, *SIZE))
    assert scene.annotated == (5, 10, 25, 30) and problems == []
    assert in_pixels((0.5, 0.5, 0.5, 0.5), SIZE) == (20, 30, 21, 31) and in_pixels((0, 0, 1, 1), SIZE) == (0, 0, 40, 60)


@pytest.mark.parametrize("ending", ["", "_M"])
def test_rord_has_scenes_with_picture_truth_and_mask_under_one_name(tmp_path: Path, ending: str):
    for kind, value in (("img", 10), ("gt", 20)):
        picture(tmp_path / f"published/val/{kind}/1234/0001.jpg", value)
        picture(tmp_path / f"published/val/{kind}/1234/0002.jpg", value)
    save(tmp_path / f"published/val/mask/1234/0001{ending}.png", hole())
    code, said = build("rord", tmp_path)
    assert code == 0 and said["refusals"] == {"1234/0002": "it has no mask"}
    (case,), problems = find_cases(*(tmp_path / "set" / kind for kind in ("input", "mask")), {}, tmp_path / "set/truth")
    assert case.name == "1234/0001" and problems == []


@pytest.mark.parametrize("inner", ["", "CORNE-Val/"])
def test_corne_val_has_masks_of_the_object_and_of_its_effects(tmp_path: Path, inner: str):
    for i in range(2):
        for kind in ("shot", "bg"):
            picture(tmp_path / f"published/{inner}{kind}/{i:06d}.png")
        save(tmp_path / f"published/{inner}mask_sam/{i:06d}.png", hole())
        save(tmp_path / f"published/{inner}mask_eff/{i:06d}.png", hole((10, 25, 15, 40)))
    save(tmp_path / f"published/{inner}mask_sam/000001.png", np.zeros(SIZE, np.uint8))
    code, said = build("corne-val", tmp_path)
    assert code == 0 and said["pictures"] == 1 and list(said["refusals"]) == ["000001"]
    assert np.asarray(Image.open(tmp_path / "set/effect/000000.png")).sum() == 255 * 15 * 25


@pytest.mark.parametrize(
    ("name", "where", "kinds"),
    [
        ("removal-bench", "", ("images", "masks", "gt")),
        ("defacto-val", "val_defacto", ("paste", "mask", "gt")),
        ("rord-val", "val_rord", ("paste", "mask", "gt")),
        ("syn4removal-val", "val_paste", ("paste", "mask", "gt")),
    ],
)
def test_sets_of_three_folders_keep_what_is_in_all_of_them(tmp_path: Path, name: str, where: str, kinds: tuple):
    root = tmp_path / "published" / where
    for i in range(3):
        picture(root / kinds[0] / f"{i:05d}.png", 10 + i)
        picture(root / kinds[2] / f"{i:05d}.png", 50 + i)
        save(root / kinds[1] / f"{i:05d}.png", hole())
    (root / kinds[1] / "00001.png").unlink()
    save(root / kinds[2] / "00002.png", np.zeros((9, 9, 3), np.uint8))
    code, said = build(name, tmp_path)
    assert code == 0 and said["pictures"] == 1 and said["reported_by_the_papers"] == {"removal-bench": 70}.get(name)
    assert said["refusals"] == {"00001": "it has no mask", "00002": "00002.png is not of its picture's size"}
    assert np.asarray(Image.open(tmp_path / "set/input/00000.png")).mean() == 10
    assert np.asarray(Image.open(tmp_path / "set/truth/00000.png")).mean() == 50
    assert (np.asarray(Image.open(tmp_path / "set/mask/00000.png")) == hole()).all()


def as_row(subset: str, name: str, **pixels: np.ndarray | None) -> dict:
    """A row as the ``datasets`` library writes pictures: the bytes of a file and its path."""
    row = {"subset": subset, "split": "test"}
    for column in ("input", "gt", "object_mask", "object_effect_mask"):
        found, encoded = pixels.get(column), BytesIO()
        if found is not None:
            Image.fromarray(found).save(encoded, "PNG")
        row[column] = None if found is None else {"bytes": encoded.getvalue(), "path": f"{name}.png"}
    return row


def ober(root: Path) -> None:
    """Two whole rows of OBER-Test, one without truth, a name that is there twice, and a row of each other subset."""
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    shot, clean = np.full((*SIZE, 3), 90, np.uint8), np.full((*SIZE, 3), 20, np.uint8)
    whole = {"input": shot, "gt": clean, "object_mask": hole(), "object_effect_mask": hole((10, 25, 15, 40))}
    rows = [as_row("OBER-Test", "0427", **whole), as_row("OBER-Test", "0428", **whole)]
    rows += [as_row("OBER-Test", "0429", **whole | {"gt": None}), as_row("OBER-Test", "0427", **whole)]
    rows += [as_row("OBER-Test", "0430", **whole | {"input": None})]
    rows += [as_row("OBER-Wild", "0001", **whole | {"gt": None}), as_row("RORD-Val-343", "7/0002", **whole)]
    path = root / "published/data/test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)


@pytest.mark.parametrize(
    ("name", "pictures", "refused", "truths"),
    [("ober-test", {"0427", "0428"}, 3, 2), ("ober-wild", {"0001"}, 0, 0), ("ober-rord", {"0002"}, 0, 1)],
)
def test_ober_is_read_from_its_parquet_by_subset(tmp_path: Path, name: str, pictures: set, refused: int, truths: int):
    ober(tmp_path)
    code, said = build(name, tmp_path)
    assert code == 0 and said["pictures"] == len(pictures) and said["refused"] == refused
    assert said["reported_by_the_papers"] == {"ober-test": 163, "ober-wild": 302, "ober-rord": 343}[name]
    assert {path.stem for path in (tmp_path / "set/input").iterdir()} == pictures
    assert len(list((tmp_path / "set").glob("truth/*"))) == truths
    assert np.asarray(Image.open(tmp_path / f"set/effect/{min(pictures)}.png")).sum() == 255 * 15 * 25
    if name == "ober-test":
        assert said["refusals"] == {
            "0429": "it has no truth",
            "0427": "its name is there more than once",
            "row 4 of OBER-Test": "it has no picture",
        }


def test_ober_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "published/data").mkdir(parents=True)
    (tmp_path / "published/data/test-00000-of-00001.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert build("ober-test", tmp_path)[0] == 2 and "pip install pyarrow" in capsys.readouterr().err


def test_files_that_are_not_as_published_and_a_folder_in_use_are_refused(tmp_path: Path, capsys):
    (tmp_path / "published").mkdir()
    for name in published_sets.SETS:
        assert build(name, tmp_path)[0] == 2 and f"{name} cannot be read from" in capsys.readouterr().err
    picture(tmp_path / "set/input/mine.jpg")
    assert build("rord", tmp_path)[0] == 2 and "new or empty" in capsys.readouterr().err
