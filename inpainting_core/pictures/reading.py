"""Picture files read as they are stored, or one sentence that names the file and says why not."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from inpainting_core.pictures import tiff_tags
from inpainting_core.pictures.deep_tiff import COMPRESSION, is_deep, read_deep_tiff
from inpainting_core.pictures.endings import Unfit
from inpainting_core.pictures.formats import READ
from inpainting_core.pictures.metadata import Metadata, upright_exif, upright_xmp, without_thumbnails
from inpainting_core.pictures.pillow_samples import from_pillow
from inpainting_core.pictures.png_chunks import carried_chunks, chunks_of, read_deep_png
from inpainting_core.pictures.stored_samples import Stored

# what Pillow, imagecodecs and tifffile were seen to raise for a damaged file
BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, RuntimeError)
BROKEN = (*BROKEN, struct.error, zlib.error)
TURNS = {  # EXIF's orientation -> what makes the stored samples upright
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
SIDEWAYS = (5, 6, 7, 8)  # those that swap the sides
LARGEST_FILE = 2**32  # bytes; the largest picture that is read has fewer without any compression
GREY_BITS_AT = 24  # of a PNG: its bits a sample


@dataclass(frozen=True, eq=False)
class Content:
    """All that is taken from a file, upright.  ``compression``: a TIFF's, by its number.  ``lossy``: as a JPEG is."""

    stored: Stored
    format: str
    metadata: Metadata = Metadata()
    compression: int = 1
    lossy: bool = False


def read_content(path: Path) -> Content:
    """A picture file's one picture.  Raises FileNotFoundError or ValueError in a sentence that names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"a picture must be a file that exists, got {path}.")
    with whole(path.name):
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise Unfit(f"{path.name} is too large a picture: a file of {size / 2**30:.0f} GB.")
        data = path.read_bytes()
        return _tiff(data, path.name) if data[:4] in tiff_tags.LAYOUTS else _other(data, path.name)


@contextmanager
def whole(name: str) -> Iterator[None]:
    """A block in which a file is decoded.  Raises ValueError in a sentence that names the file where it cannot be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of large pictures and of damaged EXIF
            yield
    except Unfit:
        raise
    except ModuleNotFoundError as error:
        raise Unfit(f"{name} cannot be read: {error}") from error
    except UnidentifiedImageError as error:
        kinds = "a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF picture"
        raise Unfit(f"{name} must be {kinds}, but it cannot be read as one.") from error
    except Image.DecompressionBombError as error:
        raise Unfit(f"{name} is too large a picture: {error}") from error
    except MemoryError as error:
        raise Unfit(f"{name} is too large a picture for this machine's memory.") from error
    except BROKEN as error:
        raise Unfit(f"{name} must be a whole picture file, but it is damaged: {error}.") from error


def _other(data: bytes, name: str) -> Content:
    """Any kind but TIFF."""
    file = _opened(data)
    frames = getattr(file, "n_frames", 1)
    if frames > 1 and file.format != "MPO":  # a phone's second picture is a map of depth or light, or a preview
        raise Unfit(f"{name} must hold one picture, got {frames} frames: save the one to work on as a file of its own.")
    if file.format == "AVIF" and is_deep_avif(data):
        raise Unfit(f"{name} must hold 8 bits a sample, for of an AVIF no more are read: save it as a 16-bit PNG.")
    file.load()
    orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    stored = read_deep_png(data) or from_pillow(file, name, data[GREY_BITS_AT] if file.format == "PNG" else 8)
    stored = _upright(replace(stored, profile=file.info.get("icc_profile")), orientation)
    kind = "JPEG" if file.format == "MPO" else file.format
    lossy = kind in ("JPEG", "AVIF") or (kind == "WEBP" and not is_lossless_webp(data))
    return Content(stored, kind, _metadata(file, data, orientation in SIDEWAYS), lossy=lossy)


def is_lossless_webp(data: bytes) -> bool:
    """Whether a WebP's picture is in a VP8L chunk, behind however long a profile."""
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
        at += 8 + size + size % 2
    return False


def is_deep_avif(data: bytes) -> bool:
    """Whether an AVIF holds 10 or 12 bits a sample, as its decoder's configuration (box av1C) says."""
    at = data.find(b"av1C")
    return at > 0 and bool(data[at + 6] & 0x40)


def _tiff(data: bytes, name: str) -> Content:
    tags = tiff_tags.read_tags(data)
    if (pages := tiff_tags.pages_of(data)) == 0:
        raise Unfit(
            f"{name} must hold a picture, got nothing but smaller copies: is it a camera's raw file? Develop it."
        )
    if pages > 1:
        raise Unfit(f"{name} must hold one picture, got {pages} pages: save the one to work on as a file of its own.")
    (orientation,) = tiff_tags.numbers(tags, tiff_tags.ORIENTATION, (1,))
    if is_deep(tags):
        stored = _upright(read_deep_tiff(data, tags, name), orientation)
    else:
        file = _opened(data)
        file.load()  # which turns a TIFF
        stored = from_pillow(file, name)
    stored = replace(stored, profile=tags.get(tiff_tags.PROFILE, (0, None))[1])
    metadata = Metadata(tags=tiff_tags.carried_tags(tags, orientation in SIDEWAYS))
    return Content(stored, "TIFF", metadata, compression=tiff_tags.numbers(tags, COMPRESSION, (1,))[0])


def _opened(data: bytes) -> Image.Image:
    Image.init()
    return Image.open(BytesIO(data), formats=[one for one in READ if one in Image.OPEN])


def _upright(stored: Stored, orientation: int) -> Stored:
    turn = TURNS.get(orientation)
    return stored if turn is None else replace(stored, samples=turn(stored.samples).copy())


def _metadata(file: Image.Image, data: bytes, sideways: bool) -> Metadata:
    info = file.info
    exif = info.get("exif") or (file.getexif().tobytes() if "Raw profile type exif" in info else b"")
    dpi, resources = (
        info.get("dpi"),
        b"".join(
            content.removeprefix(b"Photoshop 3.0\x00")
            for name, content in getattr(file, "applist", ())
            if name == "APP13"
        ),
    )
    comment = info.get("comment", b"")
    return Metadata(
        exif=upright_exif(exif, sideways),
        xmp=upright_xmp(info.get("xmp", b"")),
        dpi=dpi[::-1] if dpi and sideways else dpi,
        comment=comment if isinstance(comment, bytes) else b"",
        resources=without_thumbnails(resources),
        chunks=carried_chunks(chunks_of(data)) if file.format == "PNG" else (),
    )
