"""Pictures off a disk, which may be broken, tiny or huge: read at a bounded size, or named as unusable with the reason.

Pixels come as they are stored, like ``read_rgb`` gives them: an orientation in the EXIF data is not applied, because
annotations are drawn on the stored pixels.
"""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

SMALLEST_SIDE = 64  # px: eight latent cells. A smaller picture shows a network little but its own enlargement
DEEPEST = 65535  # of 16-bit grey
LONGEST = 4096  # px: larger pictures are read reduced, and so are their mattes. No training crop is larger
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow's decoders were seen to raise


class Unusable(ValueError):
    """A picture to leave out; the message is the reason."""


def bounded_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """A (width, height) whose longer side is at most ``longest``, in the same proportions up to rounding."""
    factor = min(1.0, longest / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def same_proportions(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether one (width, height) is the other one scaled and rounded to whole pixels."""
    return abs(size[1] * other[0] - size[0] * other[1]) <= max(sum(size), sum(other))


def open_picture(path: str | Path) -> Image.Image:
    """A picture's header; Pillow's warning from 89 million pixels on is for services that take strangers' files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def as_rgb(picture: Image.Image) -> Image.Image:
    """Any picture as 8-bit RGB.  Pillow's own conversion makes all 16-bit grey white."""
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture).clip(0, DEEPEST) / 257).round().astype(np.uint8))
    return picture.convert("RGB")


def read_bounded(path: str | Path, longest: int = LONGEST) -> Image.Image:
    """A picture as 8-bit RGB, its longer side at most ``longest`` px.

    A JPEG is decoded at 1/2, 1/4 or 1/8 where that is enough, so it never lies in memory whole; other formats take
    4 bytes a pixel while they are reduced (8 with transparency), and Pillow refuses over 179 million pixels.
    Raises Unusable for a file that cannot be read and for a picture that is too small, whatever ``longest`` is.
    """
    try:
        with open_picture(path) as picture:
            stored = picture.size
            size = bounded_size(stored, longest)
            picture.draft(None, size)
            plain = picture if picture.mode in ("RGB", "L") else as_rgb(picture)
            rgb = plain.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0).convert("RGB")
    except BROKEN as error:
        raise Unusable(f"unreadable: {error}") from error
    kept = bounded_size(stored, LONGEST)
    if min(kept) < SMALLEST_SIDE:
        shown = f"{stored[0]} x {stored[1]}" + (f", kept as {kept[0]} x {kept[1]}" if kept != stored else "")
        raise Unusable(f"too small: the shorter side must be at least {SMALLEST_SIDE} px, got {shown}")
    return rgb
