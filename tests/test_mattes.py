"""Mattes of primary objects: which object, how soft, and what becomes of pictures that cannot serve."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY, tiny_checkpoint, tiny_config
from tiny_segmenters import save_mask2former, save_sam, save_segformer

from inpainting_core.checkpoint import write_checkpoint
from training import train_eradiff
from training.data.annotations import Instance
from training.data.ledger import read_rows
from training.data.mattes import list_with_mattes, name_refused, read_picture_and_matte
from training.data.primary_object import Limits, border_share, primary_object
from training.data.reading import Unusable
from training.data.segmenters import largest_parts, load_segmenter
from training.prepare_mattes import main, parse_args, soft_matte, source_of

ROOT = Path(__file__).resolve().parent.parent
WREN = ROOT / "assets" / "pictures" / "wren.jpg"


def instance(rows: tuple[int, int], columns: tuple[int, int], score: float = 1.0, **changes) -> Instance:
    """A rectangle in a picture of 100 x 100."""
    mask = np.zeros((100, 100), dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return Instance(**{"mask": mask, "category": "cup", "thing": True, "score": score, "crowd": False, **changes})


def coco_file(folder: Path, sizes: dict[str, tuple[int, int]], boxes: dict[str, tuple[float, ...]]) -> Path:
    """Annotations of pictures by name and size; ``boxes`` (left, top, right, bottom) as shares of the picture."""
    images, annotations = [], []
    for number, (name, (width, height)) in enumerate(sizes.items()):
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        if name in boxes:
            left, top, right, bottom = np.multiply(boxes[name], (width, height, width, height)).tolist()
            polygon = [left, top, right, top, right, bottom, left, bottom]
            annotations.append({"id": number, "image_id": number, "category_id": 1, "segmentation": [polygon]})
    table = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cup"}]}
    path = folder / "instances.json"
    path.write_text(json.dumps(table))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, Path]:
    """The folder of the issue: a good picture, and one each that is corrupt, empty, tiny and huge; with annotations."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    sizes = {"empty.png": (200, 150), "tiny.png": (30, 20), "huge.jpg": (12000, 9000), "wren.jpg": (768, 432)}
    Image.new("RGB", sizes["empty.png"], "tan").save(folder / "empty.png")
    Image.new("RGB", sizes["tiny.png"], "tan").save(folder / "tiny.png")
    Image.new("L", sizes["huge.jpg"], 90).save(folder / "huge.jpg")
    (folder / "deep" / "wren.jpg").write_bytes(WREN.read_bytes())
    (folder / "corrupt.jpg").write_bytes(WREN.read_bytes()[:20000])
    boxes = dict.fromkeys(("tiny.png", "huge.jpg", "wren.jpg", "corrupt.jpg"), (0.25, 0.25, 0.5, 0.75))
    return folder, coco_file(tmp_path, {**sizes, "corrupt.jpg": (768, 432)}, boxes)


def prepare(*flags: object) -> None:
    main(parse_args([str(flag) for flag in flags]))


REASONS = {
    "corrupt.jpg": "unreadable: image file is truncated",
    "empty.png": "no usable object: 0 found",
    "tiny.png": "too small: the shorter side must be at least 64 px, got 30 x 20",
}


def test_a_folder_with_bad_pictures_is_prepared_and_listed(photos: tuple[Path, Path], capsys: pytest.CaptureFixture):
    folder, annotations = photos
    prepare("--images", folder, "--coco", annotations)
    rows, said = read_rows(folder / "mattes.csv"), capsys.readouterr()
    assert {name for name, (status, _) in rows.items() if status == "done"} == {"deep/wren.jpg", "huge.jpg"}
    for name, reason in REASONS.items():
        assert rows[name][0] == "refused" and rows[name][1].startswith(reason)
        assert f"{name}: {reason}" in said.out
    assert "2 mattes, 3 pictures refused: " in said.out
    assert Image.open(folder / "huge_matte.png").size == (4096, 3072)
    assert Image.open(folder / "deep" / "wren_matte.png").size == (768, 432)

    usable, refused = list_with_mattes(folder)
    assert [picture.name for picture, _ in usable] == ["wren.jpg", "huge.jpg"]
    shown = []
    name_refused(refused, shown.append)
    assert len(shown) == 3 and all(any(r in line for line in shown) for r in REASONS.values())
    for picture, matte in usable:
        rgb, alpha = read_picture_and_matte(picture, matte, longest=512)
        assert rgb.size == alpha.size and max(rgb.size) == 512 and (rgb.mode, alpha.mode) == ("RGB", "L")
        inside = np.zeros((alpha.height, alpha.width), dtype=bool)
        inside[alpha.height // 4 : alpha.height * 3 // 4, alpha.width // 4 : alpha.width // 2] = True
        assert ((np.asarray(alpha) > 127) != inside).mean() < 0.01


def test_a_folder_with_bad_pictures_trains(photos: tuple[Path, Path], capsys: pytest.CaptureFixture):
    folder, annotations = photos
    base, out = folder.parent / "base.safetensors", folder.parent / "run"
    write_checkpoint(base, tiny_checkpoint(tiny_config(vae=TINY)), torch.float32)
    prepare("--images", folder, "--coco", annotations)
    capsys.readouterr()
    small = "--resolution 32 --workers 0 --steps 2 --batch-size 4".split()
    train_eradiff.main(
        train_eradiff.parse_args(["--base", str(base), "--images", str(folder), "--out", str(out), *small])
    )
    assert (out / "model.safetensors").exists()
    said = capsys.readouterr().out
    for name, reason in REASONS.items():
        assert f"{name}: {reason}" in said and said.count(name) == 1


def test_the_matte_of_a_box_is_exact_and_soft_by_a_pixel(tmp_path: Path):
    Image.new("RGB", (200, 100)).save(tmp_path / "box.png")
    annotations = coco_file(tmp_path, {"box.png": (200, 100)}, {"box.png": (0.25, 0.4, 0.75, 0.9)})
    prepare("--images", tmp_path, "--coco", annotations, "--out", tmp_path / "mattes")
    alpha = np.asarray(Image.open(tmp_path / "mattes" / "box_matte.png"))
    assert alpha.shape == (100, 200) and alpha.dtype == np.uint8
    assert alpha[60, 46:54].tolist() == [0, 0, 0, 85, 170, 255, 255, 255]  # the edge lies between 49 and 50
    assert alpha[36:44, 100].tolist() == [0, 0, 0, 85, 170, 255, 255, 255]
    hard = np.zeros((100, 200))
    hard[40:90, 50:150] = 255
    assert ((alpha > 127) != (hard > 0)).sum() == 4  # the corners, which the softening rounds
    assert alpha.sum() == pytest.approx(hard.sum(), rel=1e-3)
    assert [p.name for p in list_with_mattes(tmp_path, tmp_path / "mattes")[0][0]] == ["box.png", "box_matte.png"]


def test_a_reduced_mask_gives_a_matte_of_the_pictures_size():
    mask = np.zeros((30, 40), dtype=bool)
    mask[10:20, 10:30] = True
    alpha = np.asarray(soft_matte(mask, (400, 300)), dtype=float)
    assert alpha.shape == (300, 400) and alpha[150, 200] == 255 and alpha[20, 20] == 0
    assert alpha.sum() == pytest.approx(mask.sum() * 100 * 255, rel=0.01)


def test_a_second_run_does_nothing_and_a_killed_one_continues(photos: tuple[Path, Path], capsys: pytest.CaptureFixture):
    folder, annotations = photos
    (folder / "huge.jpg").unlink()
    prepare("--images", folder, "--coco", annotations)
    table, matte = (folder / "mattes.csv").read_bytes(), folder / "deep" / "wren_matte.png"
    written = matte.stat().st_mtime_ns
    prepare("--images", folder, "--coco", annotations)
    assert (folder / "mattes.csv").read_bytes() == table and matte.stat().st_mtime_ns == written

    (folder / "mattes.csv").write_bytes(table[:-12])  # killed within the last row, whose picture is tiny.png
    assert "tiny.png" not in read_rows(folder / "mattes.csv")
    prepare("--images", folder, "--coco", annotations)
    assert (folder / "mattes.csv").read_bytes() == table
    matte.unlink()  # what is listed is not made again
    prepare("--images", folder, "--coco", annotations)
    assert not matte.exists() and not list(folder.rglob("*.tmp"))


def test_mattes_that_are_there_are_kept_and_verified(photos: tuple[Path, Path]):
    folder, annotations = photos
    Image.new("L", (100, 75), 200).save(folder / "empty_matte.png")  # of another tool: any size of these proportions
    Image.new("L", (50, 50), 200).save(folder / "huge_matte.png")
    Image.new("L", (768, 432), 9).save(folder / "deep" / "wren_matte.png")
    Image.new("L", (768, 432), 200).save(folder / "corrupt_matte.png")
    Image.new("RGBA", (30, 20)).save(folder / "tiny_matte.png")
    prepare("--images", folder, "--coco", annotations)
    rows = read_rows(folder / "mattes.csv")
    assert {name: row[0] for name, row in rows.items()} == {
        "empty.png": "done", "huge.jpg": "refused", "deep/wren.jpg": "refused", "corrupt.jpg": "refused",
        "tiny.png": "refused",
    }  # fmt: skip
    usable, refused = list_with_mattes(folder)
    assert [picture.name for picture, _ in usable] == ["empty.png"]
    reasons = {path.name: reason for path, reason in refused}
    assert reasons["huge.jpg"] == "its matte must have the proportions 4096 x 3072, got 50 x 50"
    assert reasons["wren.jpg"] == "its matte is empty: alpha must reach 128 somewhere"
    assert reasons["corrupt.jpg"].startswith("unreadable") and reasons["tiny.png"].startswith("too small")


def test_a_small_object_stays_usable_at_any_size(tmp_path: Path):
    Image.new("RGB", (400, 400)).save(tmp_path / "a.png")
    matte = Image.new("L", (400, 400))
    matte.paste(255, (200, 200, 203, 260))
    matte.save(tmp_path / "a_matte.png")
    rgb, alpha = read_picture_and_matte(tmp_path / "a.png", tmp_path / "a_matte.png", longest=20)
    assert rgb.size == alpha.size == (20, 20) and 0 < alpha.getextrema()[1] < 128


@pytest.mark.parametrize(
    ("content", "reason"), [(b"no picture", "its matte is unreadable"), (None, "its matte must be 8-bit grey")]
)
def test_a_matte_that_is_none_is_named(tmp_path: Path, content: bytes | None, reason: str):
    Image.new("RGBA", (64, 64), "white").save(tmp_path / "a_matte.png")
    if content:
        (tmp_path / "a_matte.png").write_bytes(content)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(Unusable, match=reason):
        read_picture_and_matte(tmp_path / "a.png", tmp_path / "a_matte.png")


def test_two_pictures_cannot_share_a_matte(tmp_path: Path):
    for name in ("dog.jpg", "dog.png"):
        Image.new("RGB", (100, 100)).save(tmp_path / name)
    prepare(
        "--images", tmp_path, "--coco", coco_file(tmp_path, {"dog.jpg": (100, 100)}, {"dog.jpg": (0.2, 0.2, 0.5, 0.5)})
    )
    assert read_rows(tmp_path / "mattes.csv")["dog.png"] == (
        "refused",
        "its matte would have the name of the one of dog.jpg",
    )
    usable, refused = list_with_mattes(tmp_path)
    assert [p.name for p, _ in usable] == ["dog.jpg"] and [p.name for p, _ in refused] == ["dog.png"]


def test_a_folder_without_any_matte_is_refused_with_a_reason(tmp_path: Path):
    Image.new("RGB", (100, 100)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="got none among 1 in .*; a.png: no matte: training.prepare_mattes makes one"):
        list_with_mattes(tmp_path)


# which object


@pytest.mark.parametrize(
    ("others", "wins"),
    [
        ([], True),
        ([instance((10, 90), (10, 60), thing=False), instance((10, 90), (10, 60), crowd=True)], True),
        ([instance((10, 90), (10, 60), score=0.49)], True),  # too unsure
        ([instance((5, 95), (5, 95))], True),  # too large
        ([instance((60, 100), (0, 100))], True),  # the ground: too much of the border
        ([instance((20, 60), (20, 60), score=0.5)], True),  # 0.5 x 40 = 20 against 1 x 30
        ([instance((20, 60), (20, 60), score=0.8)], False),  # 0.8 x 40 = 32
        ([instance((60, 100), (40, 80))], False),  # stands on the lower border
    ],
)
def test_the_primary_object_is_sure_and_large(others: list[Instance], wins: bool):
    wanted = instance((50, 80), (50, 80))
    for order in ([wanted, *others], [*others, wanted]):
        assert (primary_object(iter(order), Limits()) is wanted) == wins


@pytest.mark.parametrize("found", [[], [instance((0, 7), (0, 7))], [instance((0, 100), (0, 100))]])
def test_without_a_primary_object_the_reason_has_the_limits(found: list[Instance]):
    message = f"no usable object: {len(found)} found, but no single thing of score >= 0.5 that covers 0.5% to 60%"
    with pytest.raises(Unusable, match=message):
        primary_object(found, Limits())


def test_border_share():
    strip = np.zeros((100, 100), dtype=bool)
    strip[:, 0] = True
    assert border_share(strip) == pytest.approx(100 / 396)
    assert border_share(np.ones((3, 5), dtype=bool)) == 1.0


# models: random weights, the real pipelines


def test_a_mask2former_checkpoint_gives_mattes(tmp_path: Path):
    from transformers import pipeline

    folder = save_mask2former(tmp_path / "model")
    picture = Image.open(WREN).resize((96, 72))
    (tmp_path / "photos").mkdir()
    picture.save(tmp_path / "photos" / "wren.png")
    limits = ["--least-area", 0.01, "--most-area", 1, "--most-border", 1]
    prepare("--images", tmp_path / "photos", "--model", folder, *limits)

    found = pipeline("image-segmentation", model=str(folder))(picture, threshold=0.5)
    masks = [np.asarray(segment["mask"]) > 127 for segment in found]
    assert len(masks) > 1 and {segment["label"] for segment in found} == {"dog"}
    best = max(range(len(masks)), key=lambda n: found[n]["score"] * masks[n].mean() ** 0.5)
    alpha = np.asarray(Image.open(tmp_path / "photos" / "wren_matte.png"))
    np.testing.assert_array_equal(alpha, np.asarray(soft_matte(masks[best], (96, 72))))

    prepare("--images", tmp_path / "photos", "--model", folder, *limits, "--ignore", "dog", "--out", tmp_path / "none")
    assert read_rows(tmp_path / "none" / "mattes.csv")["wren.png"][1].startswith("no usable object: 0 found")


@pytest.mark.parametrize("save", [save_mask2former, save_segformer, save_sam])
def test_several_at_once_get_the_mattes_of_one_by_one(tmp_path: Path, save):
    """Pictures of two sizes."""
    model, wren = save(tmp_path / "model"), Image.open(WREN)
    (tmp_path / "photos").mkdir()
    for number, turn in enumerate((0, 25, 50, 75, 100)):
        wren.rotate(turn).resize((96, 72) if number % 2 else (72, 96)).save(tmp_path / "photos" / f"{number}.png")
    limits = ["--least-area", 0.01, "--most-area", 1, "--most-border", 1, "--least-score", 0.4]
    for size in (1, 4):
        flags = ["--model", model, "--out", tmp_path / str(size), "--batch-size", size]
        prepare("--images", tmp_path / "photos", *flags, *limits)
    one, four = (read_rows(tmp_path / size / "mattes.csv") for size in ("1", "4"))
    assert one == four and len(one) == 5 and any(status == "done" for status, _ in one.values())
    for matte in (tmp_path / "1").glob("*.png"):
        alone, together = (np.asarray(Image.open(tmp_path / size / matte.name), dtype=int) for size in ("1", "4"))
        assert (abs(alone - together) > 1).mean() < 0.01, "but for rounding"


def test_a_model_sees_huge_pictures_reduced_and_the_matte_is_enlarged(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    Image.open(WREN).resize((2600, 1500)).save(tmp_path / "photos" / "wren.jpg")
    folder = save_mask2former(tmp_path / "model")
    prepare("--images", tmp_path / "photos", "--model", folder, "--most-area", 1, "--most-border", 1)
    assert Image.open(tmp_path / "photos" / "wren_matte.png").size == (2600, 1500)


def test_a_sam_checkpoint_gives_masks_with_its_own_scores(tmp_path: Path):
    segment = load_segmenter(str(save_sam(tmp_path)), "cpu", 0.5)
    found = list(segment([Image.open(WREN).resize((64, 64))])[0])
    assert found and all(
        i.mask.shape == (64, 64) and i.mask.any() and i.score == pytest.approx(0.9, abs=0.05) for i in found
    )
    sure = load_segmenter(str(tmp_path), "cpu", 0.99)
    assert list(sure([Image.open(WREN).resize((64, 64))])[0]) == []


def test_a_semantic_checkpoint_counts_by_connected_parts(tmp_path: Path):
    segment = load_segmenter(str(save_segformer(tmp_path)), "cpu", 0.5)
    found = list(segment([Image.open(WREN).resize((96, 72))])[0])
    assert {i.category for i in found} == {"wall", "cup", "table"} and len(found) > 3
    total = np.sum([i.mask for i in found], axis=0)
    assert total.max() == 1 and all(len(largest_parts(i.mask)) == 1 for i in found)


def test_parts_come_largest_first_and_no_more_than_eight():
    mask = np.zeros((40, 40), dtype=bool)
    for n in range(10):
        mask[4 * n, : 3 * n + 1] = True
    parts = largest_parts(mask)
    assert [int(part.sum()) for part in parts] == [28, 25, 22, 19, 16, 13, 10, 7]
    assert largest_parts(np.zeros((4, 4), dtype=bool)) == []


@pytest.mark.parametrize("kind", ["SegformerForSemanticSegmentation", "oneformer", None])
def test_a_model_of_another_kind_is_refused_with_those_that_are_taken(tmp_path: Path, kind: str | None):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind} if kind else {"auto_map": {}}))
    with pytest.raises(ValueError, match=f"mask2former, .*sam, .*, got .* of the kind {kind}"):
        load_segmenter(str(tmp_path), "cpu", 0.5)


def test_objects_come_from_one_source(tmp_path: Path):
    for flags, got in (([], "none"), (["--model", "m", "--coco", coco_file(tmp_path, {}, {})], "both")):
        with pytest.raises(ValueError, match=f"from --model or from annotations, got {got}"):
            source_of(parse_args(["--images", str(tmp_path), *map(str, flags)]))
