"""Masks that users already have, against masks drawn by hand."""

import argparse
import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data.annotations import add_arguments, annotations_of, coco_instances, coco_panoptic, open_images
from training.data.reading import Unusable


def write_json(path: Path, table: object) -> Path:
    path.write_text(json.dumps(table))
    return path


def coco_table(annotations: list[dict], size: tuple[int, int] = (8, 6), **category) -> dict:
    """Two pictures of one size, the first annotated."""
    images = [{"id": n, "file_name": f"deep/{name}.jpg", "width": size[0], "height": size[1]} for n, name in PICTURES]
    fixed = [{"id": n, "image_id": 1, "category_id": 5, "iscrowd": 0, **a} for n, a in enumerate(annotations)]
    return {"images": images, "annotations": fixed, "categories": [{"id": 5, "name": "cup", **category}]}


PICTURES = ((1, "one"), (2, "two"))
BOX = [2, 1, 6, 1, 6, 4, 2, 4]  # corners x, y: columns 2 to 5 and rows 1 to 3 of an 8 x 6 picture


def box(height: int, width: int, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths: down the columns, starting with the zeros.  One value at a time."""
    counts, current = [0], False
    for value in mask.T.ravel().tolist():
        if value != current:
            counts, current = [*counts, 0], value
        counts[-1] += 1
    return counts


def test_a_coco_polygon_is_drawn_at_the_size_asked_for(tmp_path: Path):
    found = coco_instances(write_json(tmp_path / "a.json", coco_table([{"segmentation": [BOX]}])))
    (whole,), (half,), (wide,) = (list(found["one"](*size)) for size in ((6, 8), (3, 4), (60, 80)))
    np.testing.assert_array_equal(whole.mask, box(6, 8, (1, 4), (2, 6)))
    np.testing.assert_array_equal(wide.mask, box(60, 80, (10, 40), (20, 60)))
    assert half.mask.shape == (3, 4) and half.mask[1].tolist() == [False, True, True, False]
    assert (whole.category, whole.thing, whole.score, whole.crowd) == ("cup", True, 1.0, False)
    assert list(found["two"](6, 8)) == []


def test_coco_run_lengths_are_read_packed_or_not(tmp_path: Path):
    from pycocotools import mask as coco_mask

    mask = np.random.default_rng(0).random((6, 8)) < 0.4
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    shapes = [{"size": [6, 8], "counts": counts} for counts in (run_lengths(mask), packed)]
    table = coco_table([{"segmentation": shapes[0], "iscrowd": 1}, {"segmentation": shapes[1], "score": 0.25}])
    crowd, scored = coco_instances(write_json(tmp_path / "a.json", table))["one"](6, 8)
    np.testing.assert_array_equal(crowd.mask, mask)
    np.testing.assert_array_equal(scored.mask, mask)
    assert crowd.crowd and scored.score == 0.25


def test_coco_polygons_without_area_give_no_instance(tmp_path: Path):
    two_corners, none = {"segmentation": [[1, 1, 5, 5]]}, {"segmentation": []}
    split = {"segmentation": [[0, 0, 2, 0, 2, 6, 0, 6], [1, 1], BOX]}
    found = coco_instances(write_json(tmp_path / "a.json", coco_table([two_corners, none, split])))
    (instance,) = found["one"](6, 8)
    np.testing.assert_array_equal(instance.mask, box(6, 8, (0, 6), (0, 2)) | box(6, 8, (1, 4), (2, 6)))


def test_a_picture_of_another_shape_is_unusable(tmp_path: Path):
    found = coco_instances(write_json(tmp_path / "a.json", coco_table([{"segmentation": [BOX]}], (641, 427))))
    assert len(list(found["one"](341, 512))) == 1  # a reduced copy, rounded
    with pytest.raises(Unusable, match="proportions must be those of its annotation, 641 x 427, got 427 x 641"):
        list(found["one"](641, 427))


def panoptic_set(folder: Path) -> tuple[Path, Path]:
    """A cup whose id needs all three channels, and stuff that does not; the second picture has no annotation."""
    ids = np.full((6, 8), 7)
    ids[1:4, 2:6] = 3 + 256 * 200 + 65536 * 9
    (folder / "masks").mkdir()
    Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)).save(
        folder / "masks" / "one.png"
    )
    segments = [{"id": 641027, "category_id": 5, "iscrowd": 0}, {"id": 7, "category_id": 6}]
    table = coco_table([], isthing=1)
    table["categories"].append({"id": 6, "name": "sky", "isthing": 0})
    table["annotations"] = [
        {"image_id": 1, "file_name": "one.png", "segments_info": [*segments, {**segments[1], "id": 8}]}
    ]
    return write_json(folder / "panoptic.json", table), folder / "masks"


def test_panoptic_ids_are_read_from_all_channels(tmp_path: Path):
    found = coco_panoptic(*panoptic_set(tmp_path))
    cup, sky = found["one"](6, 8)
    np.testing.assert_array_equal(cup.mask, box(6, 8, (1, 4), (2, 6)))
    np.testing.assert_array_equal(sky.mask, ~cup.mask)
    assert (cup.category, cup.thing, sky.category, sky.thing) == ("cup", True, "sky", False)
    assert list(found) == ["one"]


def test_masks_are_read_when_asked_for_and_a_missing_one_is_named(tmp_path: Path):
    table, masks = panoptic_set(tmp_path)
    found = coco_panoptic(table, masks)
    (masks / "one.png").unlink()
    with pytest.raises(Unusable, match="its mask is unreadable: .*one.png"):
        list(found["one"](6, 8))


def open_images_set(folder: Path, columns: tuple[str, ...] = ("MaskPath", "ImageID", "LabelName")) -> tuple[Path, Path]:
    """A mask of half the picture's size, once with a predicted IoU and once without."""
    (folder / "masks").mkdir()
    Image.fromarray(box(3, 4, (1, 3), (0, 2))).save(folder / "masks" / "one_m0.png")
    with open(folder / "segmentation.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*columns, "BoxID", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax", "PredictedIoU", "Clicks"])
        for iou in ("0.75", ""):
            rows.writerow(["one_m0.png", "one", "/m/01g317", "b", 0, 0.5, 0.3, 1, iou, "0.1 0.2 1"])
    return folder / "segmentation.csv", folder / "masks"


def test_open_images_masks_are_enlarged_to_the_picture(tmp_path: Path):
    first, second = open_images(*open_images_set(tmp_path))["one"](6, 8)
    np.testing.assert_array_equal(first.mask, box(6, 8, (2, 6), (0, 4)))
    assert (first.score, second.score, first.category, first.thing) == (0.75, 1.0, "/m/01g317", True)


@pytest.mark.parametrize("read", [open_images, coco_panoptic])
def test_masks_may_lie_in_a_folder_for_each_archive(tmp_path: Path, read):
    table, masks = (open_images_set if read is open_images else panoptic_set)(tmp_path)
    (mask,) = masks.iterdir()
    for archive in ("train-masks-0", "train-masks-1"):
        (masks / archive).mkdir()
        Image.new("L", (4, 3)).save(masks / archive / "of_another_picture.png")
    mask.rename(masks / "train-masks-1" / mask.name)
    assert len(list(read(table, masks)["one"](6, 8))) == 2
    (masks / "train-masks-1" / mask.name).unlink()
    with pytest.raises(Unusable, match=f"its mask is unreadable: .*{mask.name}"):
        list(read(table, masks)["one"](6, 8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", "a COCO instances file must be JSON"),
        ("[]", "a COCO instances file must have ['annotations', 'categories', 'images']"),
        ({"images": [], "annotations": []}, "without ['categories']"),
        (coco_table([{"caption": "a cup"}]), "without ['segmentation']"),
        (coco_table([{"segmentation": [BOX], "category_id": 9}]), "their file's own categories, got [9]"),
        ({**coco_table([]), "images": [{"id": 1, "coco_url": "x.jpg"}]}, "without ['file_name', 'height', 'width']"),
        ({**coco_table([]), "images": coco_table([])["images"][:1] * 2}, "must differ in name, got one twice"),
    ],
)
def test_a_file_that_is_not_coco_instances_is_refused(tmp_path: Path, content: object, message: str):
    path = tmp_path / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=re.escape(message)):
        coco_instances(path)


def test_a_wrong_panoptic_or_open_images_file_is_refused(tmp_path: Path):
    instances = write_json(tmp_path / "a.json", coco_table([{"segmentation": [BOX]}]))
    with pytest.raises(ValueError, match=re.escape("without ['file_name', 'segments_info']")):
        coco_panoptic(instances, tmp_path)
    table, masks = open_images_set(tmp_path, ("Path", "ImageID", "LabelName"))
    with pytest.raises(ValueError, match=re.escape("segmentation table must have ['MaskPath']")):
        open_images(table, masks)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="a folder of masks must hold .png files, got none in"):
        open_images(table, tmp_path / "empty")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--coco", "a", "--panoptic", "b", "--panoptic-masks", "c"], "one source, got coco and panoptic"),
        (["--panoptic", "b"], "--panoptic and --panoptic-masks must come together"),
        (["--open-images-masks", "b"], "--open-images and --open-images-masks must come together"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(flags: list[str], message: str):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert annotations_of(parser.parse_args([])) is None
    with pytest.raises(ValueError, match=message):
        annotations_of(parser.parse_args(flags))


def test_flags_choose_the_reader(tmp_path: Path):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    panoptic, masks = panoptic_set(tmp_path)
    args = parser.parse_args(["--panoptic", str(panoptic), "--panoptic-masks", str(masks)])
    assert [instance.category for instance in annotations_of(args)["one"](6, 8)] == ["cup", "sky"]
