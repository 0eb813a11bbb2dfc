"""A TIFF's tags, carried from file to file as they are, EXIF and GPS directories, which libtiff would drop, included.

EXIF has the same structure, so the tags of a TIFF go into a JPEG and the other way round.
"""

import struct
from typing import NamedTuple

import numpy as np

from inpainting_core.pictures.metadata import Metadata, upright_xmp, without_thumbnails

Tags = dict[int, "tuple[int, bytes] | Tags"]  # number -> its type and little-endian content, or a directory of its own


class Layout(NamedTuple):
    """How a TIFF writes numbers: the byte order, and as ``struct`` codes the count of a directory and an address."""

    order: str
    count: str = "H"
    address: str = "L"
    start: int = 4  # where the first directory's address stands


BIG = {"count": "Q", "address": "Q", "start": 8}
LAYOUTS = {
    b"II*\x00": Layout("<"),
    b"MM\x00*": Layout(">"),
    b"II+\x00": Layout("<", **BIG),
    b"MM\x00+": Layout(">", **BIG),
}
# a number's type -> its bytes
ATOMS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
FRACTIONS = (5, 10)  # of two numbers each
BYTES, SHORT, LONG, FRACTION, OPAQUE = 1, 3, 4, 5, 7
NOT_CLASSIC = (16, 17, 18)  # numbers of 8 bytes, which only a BigTIFF has
BESIDE_ANOTHER = 0b101  # marks of a page that is a smaller copy or a mask of another
DIRECTORIES = (0x8769, 0x8825, 0xA005)  # EXIF, GPS, interoperability
ORIENTATION, EXIF, ACROSS, DOWN, UNIT, XMP, RESOURCES, PROFILE = 274, 0x8769, 282, 283, 296, 700, 34377, 34675
WIDTH, HEIGHT = 0xA002, 0xA003  # EXIF's own
# How the samples lie in the file, which its encoder says anew, and what shows the picture as it was before: layers of
# Photoshop, smaller copies, thumbnails.
NOT_CARRIED = (
    *(*range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 317, *range(320, 349), *range(512, 533)),
    *(37724, 50255),
)


def read_tags(data: bytes) -> Tags:
    """All tags of the first page of a TIFF file, or of EXIF; none where it is neither."""
    layout = LAYOUTS.get(data[:4])
    return {} if layout is None else _directory(data, layout, _first(data, layout))[0]


def pages_of(data: bytes) -> int:
    """How many pictures a TIFF holds, smaller copies and masks of others left out."""
    layout, seen, count = LAYOUTS[data[:4]], set(), 0
    at = _first(data, layout)
    while at and at not in seen:
        seen.add(at)
        tags, at = _directory(data, layout, at)
        count += not numbers(tags, 254, (0,))[0] & BESIDE_ANOTHER
    return count


def numbers(tags: Tags, tag: int, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    """The whole numbers of a tag."""
    if tag not in tags:
        return otherwise
    kind, content = tags[tag]
    return tuple(int(n) for n in np.frombuffer(content, f"<u{ATOMS[kind]}"))


def _first(data: bytes, layout: Layout) -> int:
    return struct.unpack_from(layout.order + layout.address, data, layout.start)[0]


def _directory(data: bytes, layout: Layout, start: int) -> tuple[Tags, int]:
    """The tags of a directory, and where the next one lies (0: there is none)."""
    order, address, counted = layout.order, layout.order + layout.address, layout.order + layout.count
    (count,), room = struct.unpack_from(counted, data, start), struct.calcsize(address)
    at = start + struct.calcsize(counted)
    found: Tags = {}
    for _ in range(count):
        tag, kind = struct.unpack_from(f"{order}HH", data, at)
        many, where = struct.unpack_from(f"{order}2{layout.address}", data, at + 4)
        size = many * ATOMS.get(kind, 0) * (2 if kind in FRACTIONS else 1)
        content = data[at + 4 + room : at + 4 + room + size] if size <= room else data[where : where + size]
        if tag in DIRECTORIES:
            found[tag] = _directory(data, layout, where)[0]
        elif kind in ATOMS and len(content) == size:
            found[tag] = (kind, np.frombuffer(content, f"{order}u{ATOMS[kind]}").astype(f"<u{ATOMS[kind]}").tobytes())
        at += 4 + 2 * room
    return found, struct.unpack_from(address, data, at)[0]


def packed(tags: Tags, start: int, also: dict[int, bytes] | None = None) -> bytes:
    """A little-endian directory that is to lie at ``start``; ``also``: entries that are packed already, by number."""
    entries, beyond = dict(also or {}), b""
    end = start + 2 + 12 * len({*tags, *entries}) + 4
    for tag, value in tags.items():
        if isinstance(value, dict):
            entries[tag] = struct.pack("<HHLL", tag, LONG, 1, end + len(beyond))
            beyond += packed(value, end + len(beyond))
            continue
        kind, content = value
        count = len(content) // (ATOMS[kind] * (2 if kind in FRACTIONS else 1))
        if len(content) <= 4:
            entries[tag] = struct.pack("<HHL4s", tag, kind, count, content)
        else:
            entries[tag] = struct.pack("<HHLL", tag, kind, count, end + len(beyond))
            beyond += content + bytes(len(content) % 2)
    return struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4) + beyond


def with_tags(file: bytes, tags: Tags) -> bytes:
    """A little-endian TIFF with tags beside those of its encoder: in a new directory at the file's end."""
    start, whole = struct.unpack_from("<L", file, 4)[0], file + bytes(len(file) % 2)
    (count,) = struct.unpack_from("<H", file, start)
    own = [file[at : at + 12] for at in range(start + 2, start + 2 + 12 * count, 12)]
    directory = packed(tags, len(whole), {struct.unpack("<H", entry[:2])[0]: entry for entry in own})
    return whole[:4] + struct.pack("<L", len(whole)) + whole[8:] + directory


def exif_of(tags: Tags) -> bytes:
    """Tags as EXIF; empty without any."""
    elsewhere = (XMP, RESOURCES, PROFILE)
    described = {tag: value for tag, value in tags.items() if tag not in elsewhere}
    return b"II*\x00" + struct.pack("<L", 8) + packed(described, 8) if described else b""


def carried_tags(tags: Tags, sideways: bool) -> Tags:
    """What a picture that is upright now takes along, less the profile, which stands with its samples."""
    kept = {tag: value for tag, value in tags.items() if tag not in (*NOT_CARRIED, PROFILE)}
    kept = {tag: value for tag, value in kept.items() if isinstance(value, dict) or value[0] not in NOT_CLASSIC}
    if ORIENTATION in kept:
        kept[ORIENTATION] = (SHORT, struct.pack("<H", 1))
    for tag, clean in ((XMP, upright_xmp), (RESOURCES, without_thumbnails)):
        if tag in kept:
            kept[tag] = (kept[tag][0], clean(kept[tag][1]))
    if sideways:
        _swap(kept, ACROSS, DOWN)
        _swap(kept.get(EXIF, {}), WIDTH, HEIGHT)
    return kept


def _swap(tags: Tags, one: int, other: int) -> None:
    if one in tags and other in tags:
        tags[one], tags[other] = tags[other], tags[one]


def tags_for(metadata: Metadata, profile: bytes | None) -> Tags:
    """All that a TIFF is to say beside how its samples lie."""
    tags: Tags = dict(metadata.tags)
    if not tags:
        tags = {tag: value for tag, value in read_tags(metadata.exif).items() if tag not in NOT_CARRIED}
        for tag, content in ((XMP, metadata.xmp), (RESOURCES, metadata.resources)):
            if content:
                tags[tag] = (BYTES, content)
    if metadata.dpi and ACROSS not in tags:
        across, down = (struct.pack("<LL", round(1000 * float(dpi)), 1000) for dpi in metadata.dpi)
        tags |= {ACROSS: (FRACTION, across), DOWN: (FRACTION, down), UNIT: (SHORT, struct.pack("<H", 2))}
    return tags | ({PROFILE: (OPAQUE, profile)} if profile else {})
