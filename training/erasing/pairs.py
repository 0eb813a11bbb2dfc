"""The pictures of a folder, the mask of each, and where its result goes.

The mask of ``photos/a/dog.jpg`` is ``masks/a/dog.*`` or ``masks/a/dog_mask.*``.  Where the folder of masks has none of
the pictures' sub-folders it is flat, and ``masks/dog.*`` serves every ``dog`` below ``photos``.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from inpainting_core.pictures.formats import FORMATS

TABLE = "erased.csv"  # a folder with one of its own holds results
BESIDE = ("_mask", "_matte", "_entities")  # what people and other scripts put beside a picture


@dataclass(frozen=True)
class Pair:
    """A picture, its mask and its result.  ``name`` is the picture's path below its folder, with forward slashes.

    Without a mask ``problem`` says why.
    """

    name: str
    picture: Path
    target: Path
    mask: Path | None
    problem: str = ""


def find_pairs(images: Path, masks: Path, out: Path) -> tuple[list[Pair], Counter[str]]:
    """Every picture with its mask, sorted, and how many files of each suffix are no pictures.

    ``images`` and ``masks`` are a folder or one file each; one mask is for all pictures.  Hidden files are passed over,
    and so are masks and folders of results that lie below ``images``; linked folders are followed.
    Raises FileNotFoundError for what is not there, ValueError where there are no pictures.
    """
    for path in (images, masks):
        if not path.exists():
            raise FileNotFoundError(f"there is no file or folder {path}.")
    found = [images] if images.is_file() else list(files_below(images, {out.resolve(), masks.resolve()}))
    pictures = [path for path in found if is_picture(path)]
    named = {path.with_suffix("") for path in pictures}
    pictures = sorted(path for path in pictures if not lies_beside(path, named))
    if not pictures:
        raise ValueError(f"{images} holds no pictures ({', '.join(sorted(FORMATS))}).")
    others = Counter(path.suffix.lower() or path.name for path in found if not is_picture(path))
    return pair_up(pictures, images.parent if images.is_file() else images, masks, out), others


def files_below(folder: Path, apart_from: set[Path], above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """The files in a folder and its sub-folders; a link back to a folder that it lies in is not followed."""
    above = (*above, folder.resolve())
    for path in folder.iterdir():
        if path.name.startswith(".") or path.resolve() in apart_from:
            continue
        if not path.is_dir():
            yield path
        elif path.resolve() not in above and not (path / TABLE).is_file():
            yield from files_below(path, apart_from, above)


def is_picture(path: Path) -> bool:
    """By its name: what cannot be read, or is a link that leads nowhere, is told when its turn comes."""
    return path.suffix.lower() in FORMATS and (path.is_file() or path.is_symlink())


def lies_beside(path: Path, named: set[Path]) -> bool:
    """Whether this is the mask, matte or map of a picture in the same folder: ``dog_mask.png`` beside ``dog.jpg``."""
    owners = [path.stem.removesuffix(ending) for ending in BESIDE if path.stem.endswith(ending)]
    return any(owner and path.with_name(owner) in named for owner in owners)


def pair_up(pictures: list[Path], root: Path, masks: Path, out: Path) -> list[Pair]:
    """Each picture with its mask: the one file ``masks``, or the file in that folder that is named as it is."""
    names = [path.relative_to(root) for path in pictures]
    flat = not any((masks / name.parent).is_dir() for name in names if name.parent != Path())
    masks_in = cache(pictures_by_stem)  # a folder is listed once, not once for each of its pictures
    pairs = []
    for path, name in zip(pictures, names, strict=True):
        folder = masks if flat else masks / name.parent
        beside = folder.resolve() == path.parent.resolve()  # there the file of the picture's own name is a picture
        stems = [f"{name.stem}_mask"] if beside else [name.stem, f"{name.stem}_mask"]
        given = [masks] if masks.is_file() else [one for stem in stems for one in masks_in(folder).get(stem, [])]
        problem = "" if len(given) == 1 else problem_of(given, folder / f"{stems[0]}.*")
        pairs.append(Pair(name.as_posix(), path, out / name, None if problem else given[0], problem))
    return pairs


def pictures_by_stem(folder: Path) -> dict[str, list[Path]]:
    """The pictures right in a folder by their names without suffix; empty where there is no such folder."""
    named: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if is_picture(path):
            named.setdefault(path.stem, []).append(path)
    return named


def problem_of(given: list[Path], expected: Path) -> str:
    if not given:
        return f"it has no mask: {expected} is missing."
    return f"it has more than one mask, take away all but one: {', '.join(str(path) for path in given)}."


def serving_several(pairs: list[Pair]) -> dict[Path, list[str]]:
    """The masks that serve several pictures, and these by name."""
    served: dict[Path, list[str]] = {}
    for pair in pairs:
        if pair.mask is not None:
            served.setdefault(pair.mask, []).append(pair.name)
    return {mask: names for mask, names in served.items() if len(names) > 1}
