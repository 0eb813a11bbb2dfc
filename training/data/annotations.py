"""Masks that users already have: COCO instances, COCO panoptic and Open Images, as one kind of record.

The sets are huge, so a file's table is read once and a picture's masks only when they are asked for.
They are given at the size of the picture as it was read, which may be smaller than the annotated one.  Asking raises
Unusable where the picture is of another shape than the annotated one, or a mask's file cannot be read.
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from training.data.reading import BROKEN, Unusable, open_picture, same_proportions

ANNOTATIONS = ("coco", "panoptic", "panoptic_masks", "open_images", "open_images_masks")  # flags of add_arguments
OPEN_IMAGES_COLUMNS = {"MaskPath", "ImageID", "LabelName"}


@dataclass(frozen=True)
class Instance:
    """One object or region of a picture: ``mask`` ``[h, w]`` bool, never empty; ``score`` in [0, 1].

    ``thing`` is false for stuff such as sky; ``crowd`` is true for a group that was not told apart.
    """

    mask: np.ndarray
    category: str
    thing: bool
    score: float
    crowd: bool


Instances = Callable[[int, int], Iterator[Instance]]  # (height, width) of the picture as read -> what is in it
Annotations = dict[str, Instances]  # by the picture's name without folder and suffix


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of a script that takes masks from annotations; ``annotations_of`` reads them."""
    parser.add_argument("--coco", metavar="JSON", help="COCO instances: polygons or run lengths")
    parser.add_argument("--panoptic", metavar="JSON", help="COCO panoptic, with --panoptic-masks")
    parser.add_argument("--panoptic-masks", metavar="DIR", help="its folder of PNGs, id = R + 256 G + 65536 B")
    parser.add_argument(
        "--open-images", metavar="CSV", help="Open Images ...-annotations-object-segmentation.csv, with the masks"
    )
    parser.add_argument(
        "--open-images-masks",
        metavar="DIR",
        help="folder of its mask archives, unpacked: all in it, or each in one of its own",
    )


def annotations_of(args: argparse.Namespace) -> Annotations | None:
    """What the flags of ``add_arguments`` name, or None where none was given.

    Raises ValueError for two sources at once, a table without its masks (or the reverse), and a file of another kind.
    """
    given = [name for name in ("coco", "panoptic", "open_images") if getattr(args, name)]
    if len(given) > 1:
        raise ValueError(f"annotations must come from one source, got {' and '.join(given)}.")
    for table in ("panoptic", "open_images"):
        if bool(getattr(args, table)) != bool(getattr(args, f"{table}_masks")):
            flag = "--" + table.replace("_", "-")
            raise ValueError(f"{flag} and {flag}-masks must come together, got only one of them.")
    if args.coco:
        return coco_instances(args.coco)
    if args.panoptic:
        return coco_panoptic(args.panoptic, args.panoptic_masks)
    return open_images(args.open_images, args.open_images_masks) if args.open_images else None


def coco_instances(path: str | Path) -> Annotations:
    """A COCO instances file, for example ``instances_train2017.json``.  Raises ValueError for another kind of file."""
    table = read_table(path, "COCO instances", {"image_id", "category_id", "segmentation"})
    names = {category["id"]: category["name"] for category in table["categories"]}
    check_categories({annotation["category_id"] for annotation in table["annotations"]}, names.keys(), path)
    found = defaultdict(list)
    for annotation in table["annotations"]:
        found[annotation["image_id"]].append(annotation)
    return {stem: partial(_coco, image, found[image["id"]], names) for stem, image in by_stem(table, path).items()}


def coco_panoptic(path: str | Path, masks: str | Path) -> Annotations:
    """A COCO panoptic file and its folder of PNGs.  Raises ValueError for another kind of file."""
    table = read_table(path, "COCO panoptic", {"image_id", "file_name", "segments_info"})
    categories = {category["id"]: category for category in table["categories"]}
    for category in table["categories"]:
        require(category, {"isthing"}, "COCO panoptic", path)
    segments = [segment for annotation in table["annotations"] for segment in annotation["segments_info"]]
    check_categories({segment["category_id"] for segment in segments}, categories.keys(), path)
    folders = mask_folders(masks)
    found = {annotation["image_id"]: annotation for annotation in table["annotations"]}
    return {
        stem: partial(_panoptic, image, found[image["id"]], categories, folders)
        for stem, image in by_stem(table, path).items()
        if image["id"] in found
    }


def open_images(path: str | Path, masks: str | Path) -> Annotations:
    """An Open Images V5 to V7 segmentation table and its masks.  Raises ValueError for another kind of file.

    The category is the table's label (``/m/...``), the score the IoU predicted for the annotator, 1 where not given.
    """
    folders = mask_folders(masks)
    found = defaultdict(list)
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        missing = OPEN_IMAGES_COLUMNS - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"an Open Images segmentation table must have {sorted(missing)}, got {path} without.")
        for row in rows:
            score = float(row["PredictedIoU"]) if row.get("PredictedIoU") else 1.0
            found[row["ImageID"]].append((row["MaskPath"], row["LabelName"], score))
    return {image: partial(_open_images, entries, folders) for image, entries in found.items()}


def read_table(path: str | Path, kind: str, columns: set[str]) -> dict:
    """A COCO-like JSON whose annotations all have ``columns``.  Raises ValueError for any other file."""
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"a {kind} file must be JSON, got {path}: {error}.") from error
    require(table, {"images", "annotations", "categories"}, kind, path)
    for annotation in table["annotations"]:
        require(annotation, columns, kind, path)
    for category in table["categories"]:
        require(category, {"id", "name"}, kind, path)
    return table


def require(record: object, keys: set[str], kind: str, path: str | Path) -> None:
    """Refuse a record that is not a table or lacks a key, with the name of the file."""
    missing = keys - record.keys() if isinstance(record, dict) else keys
    if missing:
        raise ValueError(f"a {kind} file must have {sorted(keys)}, got {path} without {sorted(missing)}.")


def by_stem(table: dict, path: str | Path) -> dict[str, dict]:
    """The table's pictures by name without folder and suffix.  Raises ValueError where two share a name."""
    images: dict[str, dict] = {}
    for image in table["images"]:
        require(image, {"id", "file_name", "height", "width"}, "COCO", path)
        stem = Path(image["file_name"]).stem
        if stem in images:
            raise ValueError(f"annotated pictures must differ in name, got {stem} twice in {path}.")
        images[stem] = image
    return images


def check_categories(used: Set[int], known: Set[int], path: str | Path) -> None:
    if used - known:
        raise ValueError(f"annotations must be of their file's own categories, got {sorted(used - known)} in {path}.")


def mask_folders(masks: str | Path) -> list[Path]:
    """A folder of masks and those in it that hold some: an archive that was unpacked may have one of its own.

    Raises ValueError where none does, before every picture is refused for it.
    """
    folders = [Path(masks), *sorted(path for path in Path(masks).iterdir() if path.is_dir())]
    found = [folder for folder in folders if next(folder.glob("*.png"), None)]
    if not found:
        raise ValueError(f"a folder of masks must hold .png files, got none in {masks} and the folders in it.")
    return found


def check_shape(image: dict, height: int, width: int) -> None:
    annotated = image["width"], image["height"]
    if not same_proportions(annotated, (width, height)):
        shown = "{} x {}".format(*annotated)
        raise Unusable(f"its proportions must be those of its annotation, {shown}, got {width} x {height}")


def _coco(image: dict, annotations: list[dict], names: dict[int, str], height: int, width: int) -> Iterator[Instance]:
    check_shape(image, height, width)
    for annotation in annotations:
        mask = segmentation_mask(annotation["segmentation"], image, height, width)
        if mask.any():
            crowd, score = bool(annotation.get("iscrowd", 0)), float(annotation.get("score", 1.0))
            yield Instance(mask, names[annotation["category_id"]], True, score, crowd)


def segmentation_mask(segmentation: list | dict, image: dict, height: int, width: int) -> np.ndarray:
    """COCO polygons or run lengths as ``[height, width]`` bool; polygons of fewer than three corners are empty."""
    from pycocotools import mask as coco_mask

    if isinstance(segmentation, dict):
        packed = isinstance(segmentation["counts"], str)
        rle = segmentation if packed else coco_mask.frPyObjects(segmentation, *segmentation["size"])
        whole = Image.fromarray(np.ascontiguousarray(coco_mask.decode(rle)))
        return np.asarray(whole.resize((width, height), Image.Resampling.NEAREST)).astype(bool)
    scale = (width / image["width"], height / image["height"])
    corners = [(np.reshape(polygon, (-1, 2)) * scale).ravel().tolist() for polygon in segmentation if len(polygon) >= 6]
    if not corners:
        return np.zeros((height, width), dtype=bool)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(corners, height, width))).astype(bool)


def _panoptic(
    image: dict, annotation: dict, categories: dict[int, dict], masks: list[Path], height: int, width: int
) -> Iterator[Instance]:
    check_shape(image, height, width)
    channels = stored_mask(masks, annotation["file_name"], "RGB", height, width)
    ids = channels.astype(np.int32) @ np.array([1, 256, 65536], dtype=np.int32)
    for segment in annotation["segments_info"]:
        mask, category = ids == segment["id"], categories[segment["category_id"]]
        if mask.any():
            yield Instance(mask, category["name"], bool(category["isthing"]), 1.0, bool(segment.get("iscrowd", 0)))


def _open_images(
    entries: list[tuple[str, str, float]], masks: list[Path], height: int, width: int
) -> Iterator[Instance]:
    for name, label, score in entries:
        mask = stored_mask(masks, name, "L", height, width) > 127
        if mask.any():
            yield Instance(mask, label, True, score, False)


def stored_mask(folders: list[Path], name: str, mode: str, height: int, width: int) -> np.ndarray:
    """A mask's file in one of the folders, at the picture's size, nearest neighbour: ``[h, w(, 3)]`` in 8 bits."""
    places = [folder / name for folder in folders]
    path = next((place for place in places if place.exists()), places[0])
    try:
        with open_picture(path) as stored:
            return np.asarray(stored.convert(mode).resize((width, height), Image.Resampling.NEAREST))
    except BROKEN as error:
        raise Unusable(f"its mask is unreadable: {error}") from error
