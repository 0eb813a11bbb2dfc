"""PNG as its chunks: what stands beside the samples, and the 16-bit colour that Pillow would cut down to 8 bits."""

import struct
import zlib
from collections.abc import Iterable
from io import BytesIO

from PIL import Image, PngImagePlugin

from inpainting_core.pictures.codecs import codecs
from inpainting_core.pictures.stored_samples import Stored

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CARRIED = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"tIME", b"tEXt", b"zTXt", b"iTXt")  # ICC, EXIF, XMP, dpi: as in others
ELSEWHERE = (b"XML:com.adobe.xmp\x00", b"Raw profile type ")  # texts that are XMP or EXIF
MODES = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}  # by colour type


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """A PNG file's chunks, ``(name, content)``, as far as it is whole."""
    found, at = [], len(SIGNATURE)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">L4s", data, at)
        found.append((name, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def carried_chunks(chunks: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Those that say how the numbers are meant, and the texts."""
    return tuple((name, text) for name, text in chunks if name in CARRIED and not text.startswith(ELSEWHERE))


def png_info(chunks: Iterable[tuple[bytes, bytes]], xmp: bytes) -> PngImagePlugin.PngInfo:
    """Chunks and XMP as Pillow takes them."""
    info = PngImagePlugin.PngInfo()
    for name, content in chunks:
        info.add(name, content)
    if xmp:
        info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", errors="replace"))
    return info


def read_deep_png(data: bytes) -> Stored | None:
    """A PNG of 16 bits a sample and several samples a pixel, as it is stored; None for any other."""
    chunks = dict(reversed(chunks_of(data)))  # the first of each name
    depth, kind = struct.unpack_from(">BB", chunks.get(b"IHDR", bytes(13)), 8)
    if depth != 16 or kind == 0 or kind not in MODES:
        return None
    samples = codecs().png_decode(data)
    key = struct.unpack(">3H", chunks[b"tRNS"][:6]) if kind == 2 and b"tRNS" in chunks else None
    return Stored(MODES[kind], samples[..., :3] if key else samples, key=key)


def deep_png(stored: Stored, arguments: dict) -> bytes:
    """A PNG of 16-bit colour; ``arguments`` are those that Pillow would save an 8-bit one with."""
    bare = chunks_of(codecs().png_encode(stored.samples))
    beside = BytesIO()
    Image.new("RGB", (1, 1)).save(beside, "PNG", **arguments)
    own = [(name, content) for name, content in chunks_of(beside.getvalue()) if name not in (b"IHDR", b"IDAT", b"IEND")]
    if stored.key is not None:
        own.append((b"tRNS", struct.pack(">3H", *stored.key)))
    pixels = [chunk for chunk in bare if chunk[0] == b"IDAT"]
    return SIGNATURE + b"".join(map(_chunk, [bare[0], *own, *pixels, (b"IEND", b"")]))


def _chunk(chunk: tuple[bytes, bytes]) -> bytes:
    name, content = chunk
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))
