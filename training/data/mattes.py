"""Mattes beside their pictures: ``NAME_matte.png``, the 8-bit alpha of the picture's primary object.

A matte has its picture's size, or for a picture of a longer side over 4096 px that of its reduced version; any size
in the picture's proportions is accepted, so mattes of other tools serve as well.
"""

from collections.abc import Callable
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from inpainting_core.folders import files_below
from training.data.listing import MATTE, list_pictures, namesakes
from training.data.reading import BROKEN, LONGEST, File, Unusable, open_picture, read_upright
from training.data.refused import DONE, FOR_ALL, MATTES, rows_of

Pair = tuple[Path, Path]  # a picture and its matte


def pairs_of(images: str | Path, mattes: str | Path | None = None) -> list[Pair]:
    """Every picture below ``images`` with the place of its matte: beside it, or at the same place below ``mattes``."""
    images = Path(images)
    pictures = list_pictures(images)
    folder = images if mattes is None else Path(mattes)
    return [(path, folder / path.relative_to(images).with_name(f"{path.stem}{MATTE}.png")) for path in pictures]


def list_with_mattes(images: str | Path, mattes: str | Path | None = None) -> tuple[list[Pair], list[tuple[Path, str]]]:
    """The pictures to train on with their mattes, and those to leave out with the reason for each.

    A picture serves if it can be read, its shorter side has at least 64 px and its matte shows an object; it may be
    smaller than the training resolution.  What ``training.prepare_mattes`` has listed as done was read then and is
    believed; a picture that it has not seen is read now, with its matte.  Raises ValueError where none is left.
    """
    pairs, images = pairs_of(images, mattes), Path(images)
    rows, twins = (
        rows_of(images if mattes is None else mattes, MATTES, set(files_below(images))),
        namesakes([picture for picture, _ in pairs], "matte"),
    )
    usable, refused = [], []
    for picture, matte in tqdm(pairs, desc="listing mattes", leave=False):
        status, reason = rows.get(picture.relative_to(images).as_posix(), ("", ""))
        try:
            if picture in twins:
                raise Unusable(twins[picture])
            if not matte.exists() or reason.startswith(FOR_ALL):
                raise Unusable(reason or "no matte: training.prepare_mattes makes one")
            if status != DONE:
                read_picture_and_matte(picture, matte)
            usable.append((picture, matte))
        except Unusable as error:
            refused.append((picture, str(error)))
    if not usable:
        path, reason = refused[0]
        raise ValueError(
            f"a folder to train on must hold a picture with a matte, got none among {len(refused)} in {images}; "
            f"{path.name}: {reason}."
        )
    return usable, refused


def name_refused(refused: list[tuple[Path, str]], show: Callable[[str], None] = print) -> None:
    """Say once which pictures are left out, and why."""
    for path, reason in refused:
        show(f"left out {path}: {reason}")


def read_picture_and_matte(
    picture: File, matte: File | None, longest: int = LONGEST
) -> tuple[Image.Image, Image.Image]:
    """A picture (RGB) and its alpha (8-bit grey) at one size, upright, the longer side at most ``longest`` px.

    Nothing is kept in memory.  Raises Unusable where either cannot be read, the picture is too small, or the matte is
    missing, of another shape, not grey or empty.
    """
    if matte is None:
        raise Unusable("no matte: training.prepare_mattes makes one")
    read = read_upright(picture, longest)
    try:
        with open_picture(matte) as stored:
            mode = stored.mode
            grey = stored.convert("L")
    except BROKEN as error:
        raise Unusable(f"its matte is unreadable: {error}") from error
    if mode not in ("L", "1"):
        raise Unusable(f"its matte must be 8-bit grey, got mode {mode}")
    grey = read.along(grey, "matte")
    if grey.getextrema()[1] < 128:
        raise Unusable("its matte is empty: alpha must reach 128 somewhere")
    return read.picture, grey.resize(read.picture.size, Image.Resampling.BILINEAR, reducing_gap=2.0)
