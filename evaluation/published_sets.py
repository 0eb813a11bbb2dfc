"""Published sets, read as their authors publish them: every item, or why it cannot serve.

Read from the authors' pages and from loaders that others published for the same files; the files of RemovalBench and
of SmartEraser's sets are known from such loaders alone.  Where no selection was published (COCO's 3,985, EntitySeg's
670, RORD's 343), the rule here is our own, and so is its count.
"""

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np

from evaluation.folders import names_below
from evaluation.items import Item, Items, Refusal
from evaluation.ober import ober
from inpainting_core.folders import files_below
from inpainting_core.pictures.endings import FORMATS

LEAST, MOST = 0.01, 0.5  # of the picture, of a thing that is to be erased
OPEN_IMAGES_COUNT, SEED = 10_000, 0


def coco(folder: Path, seed: int) -> Items:
    """``annotations/instances_val2017.json`` and ``val2017/*.jpg``: the largest fitting thing of every picture."""
    return largest_things(folder / "annotations/instances_val2017.json", folder / "val2017")


def entityseg(folder: Path, seed: int) -> Items:
    """``entityseg_insseg_val.json`` (things only) and the pictures in whatever folders beside it."""
    return largest_things(folder / "entityseg_insseg_val.json", folder)


def largest_things(annotations: Path, pictures: Path) -> Items:
    """A COCO file's pictures, each with its largest annotation that is no crowd and covers 1% to 50% of it."""
    from pycocotools.coco import COCO

    said = json.loads(annotations.read_text(encoding="utf-8"))
    index = COCO()
    index.dataset = said
    index.createIndex()
    paths = sorted(pictures / name for name in files_below(pictures))
    files = {path.name: path for path in paths if path.suffix.lower() in FORMATS}
    for image in sorted(said["images"], key=lambda one: one["id"]):
        name, size = Path(image["file_name"]).stem, image["height"] * image["width"]
        things = [one for one in index.imgToAnns[image["id"]] if not one.get("iscrowd")]
        fitting = [one for one in things if LEAST <= one["area"] / size <= MOST]
        if Path(image["file_name"]).name not in files:
            yield Refusal(name, "its picture is not there")
        elif not fitting:
            yield Refusal(name, f"it has no thing that covers {LEAST:.0%} to {MOST:.0%} of it")
        else:
            thing = max(fitting, key=lambda one: (one["area"], -one["id"]))
            left, top, width, height = thing["bbox"]
            shares = np.array([left, top, left + width, top + height]) / ([image["width"], image["height"]] * 2)
            picture = files[Path(image["file_name"]).name]
            yield Item(name, picture, lambda thing=thing: index.annToMask(thing) > 0, box=tuple(shares.tolist()))


def open_images(folder: Path, seed: int) -> Items:
    """``test-annotations-object-segmentation.csv``, the masks it names in ``masks`` and ``images/ImageID.jpg``.

    10,000 pictures drawn by the seed, each with one of its masks; ``list.csv`` is what was drawn, for publishing.
    """
    with open(folder / "test-annotations-object-segmentation.csv", encoding="utf-8", newline="") as file:
        of_image: dict[str, list[dict]] = {}
        for row in csv.DictReader(file):
            of_image.setdefault(row["ImageID"], []).append(row)
    rng = np.random.default_rng(seed)
    for image in rng.permutation(sorted(of_image))[:OPEN_IMAGES_COUNT].tolist():
        rows = sorted(of_image[image], key=lambda row: row["MaskPath"])
        row = rows[rng.integers(len(rows))]
        picture, mask = folder / "images" / f"{image}.jpg", folder / "masks" / row["MaskPath"]
        missing = [path.name for path in (picture, mask) if not path.is_file()]
        if missing:
            yield Refusal(image, f"{missing[0]} is not there")
        else:
            box = tuple(float(row[f"Box{side}"]) for side in ("XMin", "YMin", "XMax", "YMax"))
            yield Item(image, picture, mask, box=box)


def rord(folder: Path, seed: int) -> Items:
    """``val/img``, ``val/gt`` and ``val/mask``, the same paths in each; a mask's name may end in ``_M``."""
    return side_by_side(*(folder / "val" / name for name in ("img", "mask", "gt")), mask_ending="_M")


def corne_val(folder: Path, seed: int) -> Items:
    """``shot``, ``bg``, ``mask_sam`` (the object) and ``mask_eff`` (with its effects), 219 pictures."""
    root = folder / "CORNE-Val" if (folder / "CORNE-Val").is_dir() else folder
    return side_by_side(*(root / name for name in ("shot", "mask_sam", "bg", "mask_eff")))


def removal_bench(folder: Path, seed: int) -> Items:
    """``images``, ``masks`` (of the object alone) and ``gt``, the same names in each, 70 pairs of photographs."""
    return side_by_side(folder / "images", folder / "masks", folder / "gt")


def smart_eraser(name: str, folder: Path, seed: int) -> Items:
    """A set of SmartEraser's, one archive each: ``paste``, ``mask`` and ``gt`` in ``val_defacto`` and so on."""
    return side_by_side(*(folder / name / kind for kind in ("paste", "mask", "gt")))


def side_by_side(
    pictures: Path, masks: Path, truths: Path, effects: Path | None = None, mask_ending: str = ""
) -> Items:
    """Folders with the same names in each."""
    named = [names_below(path) if path else {} for path in (pictures, masks, truths, effects)]
    for name in sorted(named[0]):
        mask = named[1].get(name) or named[1].get(name + mask_ending)
        truth, effect = named[2].get(name), named[3].get(name)
        if not mask or not truth or (effects and not effect):
            lacking = "mask" if not mask else "truth" if not truth else "effect mask"
            yield Refusal(name, f"it has no {lacking}")
        else:
            yield Item(name, named[0][name][0], mask[0], truth[0], effect and effect[0])


SETS = {
    "coco": coco,
    "entityseg": entityseg,
    "open-images": open_images,
    "rord": rord,
    "corne-val": corne_val,
    "removal-bench": removal_bench,
    "ober-test": partial(ober, "OBER-Test"),
    "ober-wild": partial(ober, "OBER-Wild"),
    "ober-rord": partial(ober, "RORD-Val-343"),
    "defacto-val": partial(smart_eraser, "val_defacto"),
    "rord-val": partial(smart_eraser, "val_rord"),
    "syn4removal-val": partial(smart_eraser, "val_paste"),
}
PAPERS = {  # pictures that the papers report
    "coco": 3985,
    "entityseg": 670,
    "open-images": OPEN_IMAGES_COUNT,
    "corne-val": 219,
    "removal-bench": 70,
    "ober-test": 163,
    "ober-wild": 302,
    "ober-rord": 343,
}
