"""The folder rule: which mask, truth, effect mask and results belong to a picture.

What belongs to ``pictures/a/dog.jpg`` lies at ``a/dog.*`` below its own folder, whatever the format.  In the pictures'
own folder, or where the plain name is not there, it is told by its ending: ``dog_mask.*``, ``dog_gt.*``,
``dog_effect.*``.  A set in one folder has ``input``, ``mask``, and where there are any ``truth`` and ``effect``.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from inpainting_core.folders import files_below
from inpainting_core.pictures.endings import FORMATS

ENDINGS = {"mask": "_mask", "truth": "_gt", "effect": "_effect", "result": ""}
SET = {"pictures": "input", "masks": "mask", "truths": "truth", "effects": "effect"}  # folders of a set
TIMES = "erased.csv"  # the table that training.erase and evaluation.peers write, with the seconds of every result

Named = dict[str, list[Path]]  # a path below a folder, without suffix, and the files that have it


class Missing(Exception):
    """A picture has no file of this kind."""


@dataclass(frozen=True)
class Case:
    """One picture and what belongs to it; ``name`` is its path below the pictures' folder, without suffix."""

    name: str
    picture: Path
    mask: Path
    truth: Path | None = None
    effect: Path | None = None
    results: dict[str, Path] = field(default_factory=dict)  # by method
    box: tuple[float, ...] | None = None  # the annotated one: left, top, right, bottom as shares of the picture


def find_cases(
    pictures: Path, masks: Path, results: dict[str, Path], truths: Path | None = None, effects: Path | None = None
) -> tuple[list[Case], list[str]]:
    """Every picture that has a mask, sorted by name, and a sentence for each thing that is missing.

    Raises FileNotFoundError for a folder that is not there, ValueError where there are no pictures.
    """
    named = {folder: names_below(folder) for folder in {pictures, masks, truths, effects, *results.values()} - {None}}
    own = [name for name in sorted(named[pictures]) if not belongs_to_another(name, named[pictures])]
    if not own:
        raise ValueError(f"{pictures} holds no pictures ({', '.join(sorted(FORMATS))}).")
    cases, problems = [], []
    for name in own:
        try:
            picture = only(named[pictures][name], name)
            mask = belonging("mask", name, masks, pictures, named)
        except (ValueError, Missing) as err:
            problems.append(f"{name} is left out: {err}.")
            continue
        rest = {"truth": truths, "effect": effects} | {f"result of {method}": at for method, at in results.items()}
        found = {}
        for what, folder in rest.items():
            try:
                found[what] = folder and belonging(what.split()[0], name, folder, pictures, named)
            except ValueError as err:
                problems.append(f"{name}: {err}.")
            except Missing as err:
                problems += [f"{name}: {err}."] if what != "effect" else []  # many objects leave none
        of_methods = {method: found[f"result of {method}"] for method in results if f"result of {method}" in found}
        cases.append(Case(name, picture, mask, found.get("truth"), found.get("effect"), of_methods))
    return cases, problems


def belonging(what: str, name: str, folder: Path, pictures: Path, named: dict[Path, Named]) -> Path:
    """The one file of a folder that belongs to a picture.  Raises Missing for none and ValueError for several."""
    ending = ENDINGS[what]
    plain = [] if folder.resolve() == pictures.resolve() and ending else named[folder].get(name, [])
    files = plain or (named[folder].get(name + ending, []) if ending else [])
    if not files:
        raise Missing(f"it has no {what} in {folder}")
    return only(files, what)


def only(files: list[Path], what: str) -> Path:
    if len(files) > 1:
        raise ValueError(f"{what} is there more than once, take away all but one: {', '.join(map(str, files))}")
    return files[0]


def belongs_to_another(name: str, named: Named) -> bool:
    """Whether a file is the mask, truth or effect of a picture in the same folder: ``dog_mask.png`` beside dog.jpg."""
    return any(ending and name.endswith(ending) and name.removesuffix(ending) in named for ending in ENDINGS.values())


def names_below(folder: Path) -> Named:
    """The picture files below a folder by their path without suffix."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}.")
    named = defaultdict(list)
    for path in sorted(folder / name for name in files_below(folder)):  # a table's order never depends on a disk
        if path.suffix.lower() in FORMATS:
            named[path.relative_to(folder).with_suffix("").as_posix()].append(path)
    return dict(named)


def with_boxes(cases: list[Case], path: Path) -> list[Case]:
    """The cases with the boxes of a table (name, left, top, right, bottom).  Raises ValueError for another table."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            sides = ("left", "top", "right", "bottom")
            boxes = {row["name"]: tuple(float(row[side]) for side in sides) for row in csv.DictReader(file)}
    except (KeyError, TypeError, ValueError) as err:
        raise ValueError(f"{path} must have the columns name, left, top, right and bottom, in numbers.") from err
    return [replace(case, box=boxes.get(case.name)) for case in cases]


def seconds_in(folder: Path) -> dict[str, float]:
    """How long each result took, by name, from the table in a folder of results; empty where there is none.

    Raises ValueError, naming the table, for seconds that are no number.
    """
    path = folder / TIMES
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = [(row.get("result"), row.get("seconds")) for row in csv.DictReader(file)]
    try:
        return {named(result): float(seconds) for result, seconds in rows if result and seconds}
    except ValueError as err:
        raise ValueError(f"{path} must have its seconds in numbers: {err}.") from err


def named(result: str) -> str:
    return Path(result).with_suffix("").as_posix()
