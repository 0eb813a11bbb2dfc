"""What a picture file says of itself, made true for the upright picture that is written.

EXIF, XMP and IPTC are edited in place, so that everything else in them stays byte for byte.  Small pictures of the
picture (EXIF's and Photoshop's thumbnails, and what XMP carries) are taken out: they would still show what was erased.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

ORIENTATION, SUB_IFD = 0x0112, 0x8769
SIDES = ((0x0100, 0x0101), (0xA002, 0xA003))  # width and height, in the main directory and in EXIF's own
THUMBNAILS = ((0x0201, 0x0202), (0x0111, 0x0117))  # where a thumbnail lies, and how long it is: a JPEG or a plain strip
PHOTOSHOP_THUMBNAILS = (1033, 1036)
EXIF_HEAD = b"Exif\x00\x00"


@dataclass(frozen=True)
class Metadata:
    """What is carried from a picture's file into its result, upright already; the ICC profile stands with the samples.

    exif: the TIFF structure.  dpi: across and down.  resources: Photoshop's, as they stand in a JPEG or a TIFF.
    chunks: a PNG's, ``(name, content)``.  tags: a TIFF's own, ``{number: (type, value)}``, its EXIF as a dictionary.
    """

    exif: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    comment: bytes = b""
    resources: bytes = b""
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    tags: dict[int, tuple[int, object]] = field(default_factory=dict)


def upright_exif(exif: bytes, turned: bool) -> bytes:
    """EXIF (a TIFF structure) of a picture that is upright now, sides swapped where it was turned, less its thumbnail.

    Empty where it is too damaged to be followed.
    """
    data = bytearray(exif.removeprefix(EXIF_HEAD))
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        return b""
    try:
        _make_upright(data, order, turned)
    except struct.error:  # a directory that lies beyond the end
        return b""
    return bytes(data)


def _make_upright(data: bytearray, order: str, turned: bool) -> None:
    (first,) = struct.unpack_from(f"{order}L", data, 4)
    main, following = _directory(data, order, first)
    own = _directory(data, order, _value(data, order, main[SUB_IFD]))[0] if SUB_IFD in main else {}
    if ORIENTATION in main:
        struct.pack_into(f"{order}HLHH", data, main[ORIENTATION] + 2, 3, 1, 1, 0)
    for entries, (width, height) in zip((main, own), SIDES, strict=True):
        if turned and width in entries and height in entries:
            one, other = (slice(entries[tag] + 2, entries[tag] + 12) for tag in (width, height))
            data[one], data[other] = data[other], data[one]
    (second,) = struct.unpack_from(f"{order}L", data, following)
    struct.pack_into(f"{order}L", data, following, 0)
    if second:
        _blank_thumbnail(data, order, _directory(data, order, second)[0])


def _directory(data: bytearray, order: str, start: int) -> tuple[dict[int, int], int]:
    """Where each tag's entry of 12 bytes lies, and where the next directory's address does."""
    (count,) = struct.unpack_from(f"{order}H", data, start)
    places = [start + 2 + 12 * i for i in range(count)]
    return {struct.unpack_from(f"{order}H", data, at)[0]: at for at in places}, start + 2 + 12 * count


def _value(data: bytearray, order: str, entry: int) -> int:
    """A single number that stands in its entry, as a short or a long."""
    short = struct.unpack_from(f"{order}H", data, entry + 2)[0] == 3
    return struct.unpack_from(f"{order}{'H' if short else 'L'}", data, entry + 8)[0]


def _blank_thumbnail(data: bytearray, order: str, entries: dict[int, int]) -> None:
    for where, long in THUMBNAILS:
        if where in entries and long in entries:
            start = _value(data, order, entries[where])
            end = min(start + _value(data, order, entries[long]), len(data))
            data[start:end] = bytes(end - start)


def upright_xmp(xmp: bytes) -> bytes:
    """XMP of a picture that is upright now, less the small pictures in it."""
    xmp = re.sub(rb'(tiff:Orientation(?:="|>))[0-9]', rb"\g<1>1", xmp)
    return re.sub(rb"<xmp:Thumbnails>.*?</xmp:Thumbnails>", b"", xmp, flags=re.DOTALL)


def without_thumbnails(resources: bytes) -> bytes:
    """Photoshop's resources (where IPTC's captions and rights are) less its thumbnails."""
    return b"".join(block for number, block in _resources(resources) if number not in PHOTOSHOP_THUMBNAILS)


def _resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while data[at : at + 4] == b"8BIM" and at + 7 <= len(data):
        (number,) = struct.unpack_from(">H", data, at + 4)
        name = (data[at + 6] + 2) // 2 * 2  # its length and itself, filled up to an even number
        if at + 10 + name > len(data):
            return
        (size,) = struct.unpack_from(">L", data, at + 6 + name)
        end = at + 10 + name + (size + 1) // 2 * 2
        yield number, data[at:end]
        at = end
