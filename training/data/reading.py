"""Pictures off a disk, which may be broken, tiny or huge: read at a bounded size, or named as unusable with the reason.

Pictures come upright, as a camera's orientation in their EXIF data says, for that is how they will be erased from.
Mattes, maps and annotations are drawn on the stored pixels and turn with their picture; one that has the upright
picture's shape alone was drawn on that and stays.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image

from inpainting_core.pictures.reading import BROKEN as DAMAGED
from inpainting_core.pictures.reading import SIDEWAYS, TURNS

SMALLEST_SIDE = 64  # px: eight latent cells. A smaller picture shows a network little but its own enlargement
DEEPEST = 65535  # of 16-bit grey
LONGEST = 4096  # px: larger pictures are read reduced, and so are their mattes. No training crop is larger
BROKEN = (*DAMAGED, Image.DecompressionBombError)  # what Pillow's decoders were seen to raise
BACK = {6: 8, 8: 6}  # the orientation whose turn undoes another's; every other undoes itself

File = str | Path | IO[bytes]


class Unusable(ValueError):
    """A picture to leave out; the message is the reason."""


@dataclass(frozen=True, eq=False)
class Upright:
    """A picture to train on: RGB, turned as its EXIF ``orientation`` says.

    ``stored`` is the size (width, height) that it has in its file, neither turned nor reduced.
    """

    picture: Image.Image
    orientation: int
    stored: tuple[int, int]

    @property
    def whole(self) -> tuple[int, int]:
        """The stored size, turned."""
        return self.stored[::-1] if self.orientation in SIDEWAYS else self.stored

    def along(self, beside: Image.Image, name: str) -> Image.Image:
        """A matte or map turned with its picture.  Raises Unusable for one of another shape than the picture's."""
        if same_proportions(self.stored, beside.size):
            return upright(beside, self.orientation)
        if same_proportions(self.whole, beside.size):
            return beside
        shown = "{} x {}".format(*bounded_size(self.stored, LONGEST))
        raise Unusable(f"its {name} must have the proportions {shown}, got {beside.width} x {beside.height}")


def upright(stored: Image.Image, orientation: int) -> Image.Image:
    """Stored pixels as the EXIF orientation says that they are looked at."""
    return _turned(stored, orientation)


def as_stored(turned: Image.Image, orientation: int) -> Image.Image:
    """The reverse of ``upright``."""
    return _turned(turned, BACK.get(orientation, orientation))


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    if orientation not in TURNS:
        return picture
    return Image.fromarray(np.ascontiguousarray(TURNS[orientation](np.asarray(picture))))


def bounded_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """A (width, height) whose longer side is at most ``longest``, in the same proportions up to rounding."""
    factor = min(1.0, longest / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def same_proportions(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether one (width, height) is the other one scaled and rounded to whole pixels."""
    return abs(size[1] * other[0] - size[0] * other[1]) <= max(sum(size), sum(other))


def open_picture(file: File) -> Image.Image:
    """A picture's header; Pillow's warning from 89 million pixels on is for services that take strangers' files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(file)


def as_rgb(picture: Image.Image) -> Image.Image:
    """Any picture as 8-bit RGB.  Pillow's own conversion makes all 16-bit grey white."""
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture).clip(0, DEEPEST) / 257).round().astype(np.uint8))
    return picture.convert("RGB")


def whole_size(file: File) -> tuple[int, int]:
    """A picture's (width, height) by its header, upright; a PNG's EXIF data may lie at its end and is not looked for.

    Raises Unusable for a file that is none.
    """
    try:
        with open_picture(file) as picture:
            exif = picture.getexif() if picture.format != "PNG" or "exif" in picture.info else {}
            sideways = exif.get(ExifTags.Base.Orientation, 1) in SIDEWAYS
            return picture.size[::-1] if sideways else picture.size
    except BROKEN as error:
        raise Unusable(f"unreadable: {error}") from error


def read_upright(file: File, longest: int = LONGEST) -> Upright:
    """A picture as 8-bit RGB and upright, its longer side at most ``longest`` px.

    A JPEG is decoded at 1/2, 1/4 or 1/8 where that is enough, so it never lies in memory whole; other formats take
    4 bytes a pixel while they are reduced (8 with transparency), and Pillow refuses over 179 million pixels.
    Raises Unusable for a file that cannot be read and for a picture that is too small, whatever ``longest`` is.
    """
    try:
        with open_picture(file) as picture:
            stored = picture.size
            size = bounded_size(stored, longest)
            picture.draft(None, size)
            plain = picture if picture.mode in ("RGB", "L") else as_rgb(picture)
            rgb = plain.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0).convert("RGB")
            orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except BROKEN as error:
        raise Unusable(f"unreadable: {error}") from error
    kept = bounded_size(stored, LONGEST)
    if min(kept) < SMALLEST_SIDE:
        shown = f"{stored[0]} x {stored[1]}" + (f", kept as {kept[0]} x {kept[1]}" if kept != stored else "")
        raise Unusable(f"too small: the shorter side must be at least {SMALLEST_SIDE} px, got {shown}")
    return Upright(upright(rgb, orientation), orientation, stored)


def read_bounded(file: File, longest: int = LONGEST) -> Image.Image:
    """The picture of ``read_upright`` alone."""
    return read_upright(file, longest).picture
