"""Pictures encoded as files, with what their originals' files say."""

import struct
from io import BytesIO

import numpy as np
from PIL import Image

from inpainting_core.picture_metadata import EXIF_HEAD, Metadata
from inpainting_core.png_chunks import deep_png, png_info
from inpainting_core.stored_samples import Stored

JPEG = {"quality": 98, "subsampling": "4:4:4", "optimize": True}
WEBP = {"lossless": True, "exact": True}  # exact: the colours under transparent pixels too
AVIF = {"quality": 100, "subsampling": "4:4:4"}


def encoded(stored: Stored, format: str, options: dict, metadata: Metadata) -> bytes:
    """A picture, in a mode that the format holds, as a file's bytes; ``options``: how an original of one format was."""
    arguments = _arguments(stored, format, options, metadata)
    if format == "PNG" and stored.depth == 16 and stored.mode != "L":
        return deep_png(stored, arguments)
    if format == "BMP" and stored.mode == "RGBA":
        return _bmp_with_alpha(stored.samples)
    file = BytesIO()
    as_pillow(stored).save(file, format, **arguments)
    return file.getvalue()


def as_pillow(stored: Stored) -> Image.Image:
    """The samples as Pillow's picture."""
    samples = np.ascontiguousarray(stored.samples)
    if stored.depth == 1:
        return Image.fromarray(samples)
    mode = {8: stored.mode, 16: "I;16", 32: "I"}[stored.depth]
    picture = Image.frombytes(mode, (samples.shape[1], samples.shape[0]), samples.tobytes())
    if stored.palette is not None:
        picture.putpalette(stored.palette[: stored.listed, :3].tobytes())
    return picture


def _arguments(stored: Stored, format: str, options: dict, metadata: Metadata) -> dict:
    """What Pillow's ``save`` takes for a format."""
    found = {"icc_profile": stored.profile, "dpi": metadata.dpi}
    found = {key: value for key, value in found.items() if value}
    if metadata.exif and format in ("PNG", "JPEG", "WEBP", "AVIF"):
        found["exif"] = EXIF_HEAD + metadata.exif
    if metadata.xmp and format in ("JPEG", "WEBP", "AVIF"):
        found["xmp"] = metadata.xmp
    if format == "PNG":
        found["pnginfo"] = png_info(metadata.chunks, metadata.xmp)
    if format in ("PNG", "GIF") and stored.has_alpha:
        found |= _transparency(stored, format)
    if format == "JPEG":
        found |= JPEG | {"comment": metadata.comment, "extra": _segment(metadata.resources)}
    if format == "WEBP":
        found |= WEBP
    if format == "AVIF":
        found |= AVIF
    return found | options


def _transparency(stored: Stored, format: str) -> dict:
    if stored.key is not None:
        return {"transparency": stored.key if len(stored.key) == 3 else stored.key[0]}
    if stored.palette is None:
        return {}
    if format == "GIF":
        return {"transparency": int(stored.palette[:, 3].argmin())}
    return {"transparency": stored.palette[: stored.listed, 3].tobytes()}


def _segment(resources: bytes) -> bytes:
    """Photoshop's resources as a JPEG's APP13."""
    content = b"Photoshop 3.0\x00" + resources
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content if resources else b""


def _bmp_with_alpha(samples: np.ndarray) -> bytes:
    """A BMP of version 4, whose header says where alpha is: Pillow writes one that loses it."""
    height, width = samples.shape[:2]
    head, pixels = 14 + 108, samples[::-1, :, [2, 1, 0, 3]].tobytes()
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    info = struct.pack("<LllHHLLllLL4L4s", 108, width, height, 1, 32, 3, len(pixels), 2835, 2835, 0, 0, *masks, b"BGRs")
    return struct.pack("<2sLLL", b"BM", head + len(pixels), 0, head) + info + bytes(48) + pixels
