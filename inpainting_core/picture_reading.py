"""Picture files opened and read as they are stored, or one sentence that names the file and says why not."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from inpainting_core.picture_formats import READ
from inpainting_core.picture_metadata import Metadata, upright_exif, upright_xmp, without_thumbnails
from inpainting_core.png_chunks import carried_chunks, chunks_of, read_deep_png
from inpainting_core.stored_samples import Stored

# what Pillow's decoders were seen to raise for a damaged file
BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, struct.error, zlib.error)
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
PALETTE_SLOTS = 256


class Unfit(ValueError):
    """A whole file that is none of ours; the message names it and says why."""


@dataclass(frozen=True, eq=False)
class Content:
    """All that is taken from a file, upright: samples, metadata, its format and the options that it was saved with."""

    stored: Stored
    format: str
    options: dict = field(default_factory=dict)
    metadata: Metadata = Metadata()


def read_content(path: Path) -> Content:
    """A picture file's one picture.  Raises FileNotFoundError or ValueError in a sentence that names the file."""
    with loaded(path) as (file, orientation):
        data = path.read_bytes()
        stored = read_deep_png(data) if file.format == "PNG" else None
        stored = replace(stored or _plain(file, data, path.name), profile=file.info.get("icc_profile"))
        if file.format != "TIFF":  # Pillow has turned that one already
            stored = _upright(stored, orientation)
        metadata = _metadata(file, data, orientation in SIDEWAYS)
        return Content(stored, "JPEG" if file.format == "MPO" else file.format, _options(file, data), metadata)


@contextmanager
def loaded(path: Path) -> Iterator[tuple[Image.Image, int]]:
    """A picture file decoded by Pillow, not turned (but for TIFF), and its orientation as EXIF or XMP tell it.

    Raises FileNotFoundError or ValueError in a sentence that names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"a picture must be a file that exists, got {path}.")
    Image.init()
    with ExitStack() as stack:
        try:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # Pillow's, of large pictures and of damaged EXIF
            file = stack.enter_context(Image.open(path, formats=[name for name in READ if name in Image.OPEN]))
            _refuse_several(file, path.name)
            orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
            file.load()
        except Unfit:
            raise
        except UnidentifiedImageError as error:
            raise Unfit(
                f"{path.name} must be a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF picture, but it cannot be read as one."
            ) from error
        except Image.DecompressionBombError as error:
            raise Unfit(f"{path.name} is too large a picture: {error}") from error
        except BROKEN as error:
            raise Unfit(f"{path.name} must be a whole picture file, but it is damaged: {error}.") from error
        yield file, orientation


def _refuse_several(file: Image.Image, name: str) -> None:
    count = getattr(file, "n_frames", 1)
    if count > 1 and file.format != "MPO":  # a phone's second picture is a map of depth or light, or a preview
        what = "pages" if file.format == "TIFF" else "frames"
        raise Unfit(f"{name} must hold one picture, got {count} {what}: save each as a file of its own.")


def _plain(file: Image.Image, data: bytes, name: str) -> Stored:
    """What Pillow reads without loss."""
    mode, samples = file.mode, np.asarray(file)
    if mode == "F":
        raise Unfit(f"{name} must hold whole numbers, got floating-point samples: save it with 16 bits.")
    if mode == "I" and (samples.min() < 0 or samples.max() > 65535):
        raise Unfit(f"{name} must hold grey values from 0 to 65535, got {samples.min()} to {samples.max()}.")
    if mode.startswith("I"):
        kind = np.int32 if mode == "I" else np.uint16
        return Stored("L", samples.astype(kind), key=_key(file, data))
    if mode not in ("P", "PA"):
        return Stored(mode, samples, key=_key(file, data))
    listed = np.array(file.getpalette("RGBA"), np.uint8).reshape(-1, 4)
    palette = np.zeros((PALETTE_SLOTS, 4), np.uint8)
    palette[:, 3] = 255
    palette[: len(listed)] = listed
    clear = file.info.get("transparency")
    if isinstance(clear, bytes):
        palette[: len(clear), 3] = np.frombuffer(clear, np.uint8)[:PALETTE_SLOTS]
    elif clear is not None:
        palette[clear, 3] = 0
    return Stored(mode, samples, palette, len(listed))


def _key(file: Image.Image, data: bytes) -> tuple[int, ...] | None:
    """The transparent colour of a PNG without alpha, in samples as Pillow spreads those of fewer than 8 bits."""
    key = file.info.get("transparency")
    if key is None or file.mode not in ("1", "L", "I;16", "RGB"):
        return None
    if file.mode == "RGB":
        return tuple(key)
    bits = data[24] if file.format == "PNG" else 8
    return (key * 255 // (2**bits - 1) if file.mode == "L" else key,)


def _upright(stored: Stored, orientation: int) -> Stored:
    turn = TURNS.get(orientation)
    return stored if turn is None else replace(stored, samples=np.ascontiguousarray(turn(stored.samples)))


def _options(file: Image.Image, data: bytes) -> dict:
    """What Pillow is to save the result with, so that it is compressed as the original was."""
    if file.format in ("JPEG", "MPO"):
        return {"progressive": bool(file.info.get("progressive"))}
    if file.format == "WEBP":
        return {"lossless": b"VP8L" in data[:4096]}
    if file.format == "TIFF":
        return {"compression": file.info.get("compression", "raw")}
    return {}


def _metadata(file: Image.Image, data: bytes, sideways: bool) -> Metadata:
    info = file.info
    exif = info.get("exif") or (file.getexif().tobytes() if len(file.getexif()) else b"")
    dpi, applied = info.get("dpi"), dict(getattr(file, "applist", ()))
    return Metadata(
        exif=upright_exif(exif, sideways),
        xmp=upright_xmp(info.get("xmp", b"")),
        dpi=dpi[::-1] if dpi and sideways else dpi,
        comment=info.get("comment", b""),
        resources=without_thumbnails(applied.get("APP13", b"").removeprefix(b"Photoshop 3.0\x00")),
        chunks=carried_chunks(chunks_of(data)) if file.format == "PNG" else (),
    )
