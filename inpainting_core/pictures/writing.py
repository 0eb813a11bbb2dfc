"""Pictures encoded as files, with what their originals' files say.

What a lossy format does to the pixels outside the hole was measured on 60 photographs (JPEGs of quality 75 to 95 with a
changed part, difference from the original more than 16 px away from it, of 255; size against the original's):

| JPEG written with | mean | largest | size |
|---|---|---|---|
| the original's tables and sampling | 0.29 | 51 | x 0.98 |
| quality 92, 4:4:4 | 1.20 | 31 | x 1.3 |
| quality 95, 4:4:4 | 0.74 | 23 | x 1.7 |
| quality 98, 4:4:4 | 0.37 | 11 | x 2.2 |
| quality 100, 4:4:4 (taken) | 0.13 | 4 | x 3.3 |

The elementwise least of a quality's tables and the original's gives the same as that quality alone.  A lossy WebP
always halves the colours' resolution and moves by up to 32 at quality 100, so WebP is written lossless (x 6).  AVIF at
quality 100, 4:4:4 moves by up to 3 (mean 0.5, x 4).
"""

import struct
from io import BytesIO

import numpy as np

from inpainting_core.pictures.deep_tiff import deep_tiff
from inpainting_core.pictures.endings import Unfit
from inpainting_core.pictures.metadata import EXIF_HEAD, Metadata
from inpainting_core.pictures.pillow_samples import to_pillow
from inpainting_core.pictures.png_chunks import deep_png, png_info
from inpainting_core.pictures.stored_samples import Stored
from inpainting_core.pictures.tiff_tags import exif_of, tags_for, with_tags

# Neither optimized nor progressive: Pillow's buffer for those is too small for noise at this quality, and it raises.
JPEG = {"quality": 100, "subsampling": "4:4:4"}
WEBP = {"lossless": True, "exact": True}  # exact: the colours under transparent pixels too
AVIF = {"quality": 100, "subsampling": "4:4:4"}
TIFF = {  # lossless compressions that Pillow writes, by TIFF's numbers; anything else becomes deflate
    1: "raw",
    2: "tiff_ccitt",
    3: "group3",
    4: "group4",
    5: "tiff_lzw",
    8: "tiff_adobe_deflate",
    32773: "packbits",
    32946: "tiff_adobe_deflate",
    34925: "lzma",
    50000: "zstd",
}
BILEVEL_ONLY = (2, 3, 4)
SEGMENT = 65000  # bytes: what one segment of a JPEG holds, less room for its name


def check_says(name: str, format: str, metadata: Metadata) -> None:
    """Raise ValueError where a JPEG has no room for what the picture's file says: each thing is one segment there."""
    exif = metadata.exif or exif_of(metadata.tags)
    for what, content in (("EXIF", exif), ("XMP", metadata.xmp), ("comment", metadata.comment)):
        if format == "JPEG" and len(content) > SEGMENT:
            raise Unfit(
                f"{name} cannot hold {len(content)} bytes of {what}, a JPEG has room for {SEGMENT}: write a PNG."
            )


def encoded(stored: Stored, format: str, metadata: Metadata, compression: int = 1) -> bytes:
    """A picture, in a mode that the format holds, as a file's bytes; ``compression``: a TIFF's, by its number."""
    if format == "TIFF":
        return _tiff(stored, metadata, compression)
    arguments = _arguments(stored, format, metadata)
    if format == "PNG" and stored.is_deep:
        return deep_png(stored, arguments)
    if format == "BMP" and stored.mode == "RGBA":
        return _bmp_with_alpha(stored.samples)
    file = BytesIO()
    to_pillow(stored).save(file, format, **arguments)
    return file.getvalue()


def _tiff(stored: Stored, metadata: Metadata, compression: int) -> bytes:
    tags = tags_for(metadata, stored.profile)
    if stored.is_deep:
        return with_tags(deep_tiff(stored, compression), tags)
    compression = 8 if compression in BILEVEL_ONLY and stored.mode != "1" else compression
    file = BytesIO()
    to_pillow(stored).save(file, "TIFF", compression=TIFF.get(compression, "tiff_adobe_deflate"))
    return with_tags(file.getvalue(), tags)


def _arguments(stored: Stored, format: str, metadata: Metadata) -> dict:
    """What Pillow's ``save`` takes for a format."""
    found = {"icc_profile": stored.profile, "dpi": metadata.dpi}
    exif, xmp = metadata.exif or exif_of(metadata.tags), metadata.xmp
    if exif and format in ("PNG", "JPEG", "WEBP", "AVIF"):
        found["exif"] = EXIF_HEAD + exif
    if xmp and format in ("JPEG", "WEBP", "AVIF"):
        found["xmp"] = xmp
    if format == "PNG":
        found["pnginfo"] = png_info(metadata.chunks, xmp)
    if format in ("PNG", "GIF") and stored.has_alpha:
        found |= _transparency(stored, format)
    if format == "JPEG":
        found |= JPEG | {"comment": metadata.comment, "extra": _segments(metadata.resources)}
    found |= {"WEBP": WEBP, "AVIF": AVIF}.get(format, {})
    return {key: value for key, value in found.items() if value is not None}


def _transparency(stored: Stored, format: str) -> dict:
    if stored.key is not None:
        return {"transparency": stored.key if len(stored.key) == 3 else stored.key[0]}
    if stored.palette is None:
        return {}
    if format == "GIF":
        return {"transparency": int(stored.palette[:, 3].argmin())}
    return {"transparency": stored.palette[: stored.listed, 3].tobytes()}


def _segments(resources: bytes) -> bytes:
    """Photoshop's resources as a JPEG's APP13, as many as they need."""
    parts = (resources[at : at + SEGMENT] for at in range(0, len(resources), SEGMENT))
    contents = (b"Photoshop 3.0\x00" + part for part in parts)
    return b"".join(b"\xff\xed" + struct.pack(">H", len(content) + 2) + content for content in contents)


def _bmp_with_alpha(samples: np.ndarray) -> bytes:
    """A BMP of version 4, whose header says where alpha is: Pillow writes one that loses it."""
    height, width = samples.shape[:2]
    head, pixels = 14 + 108, samples[::-1, :, [2, 1, 0, 3]].tobytes()
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    info = struct.pack("<LllHHLLllLL4L4s", 108, width, height, 1, 32, 3, len(pixels), 2835, 2835, 0, 0, *masks, b"BGRs")
    return struct.pack("<2sLLL", b"BM", head + len(pixels), 0, head) + info + bytes(48) + pixels
