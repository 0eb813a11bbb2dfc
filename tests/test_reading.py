"""Pictures off a disk: broken, huge, of any mode; and the list of what became of each."""

import csv
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data.ledger import Ledger, read_rows
from training.data.reading import Unusable, bounded_size, read_bounded, same_proportions

ROOT = Path(__file__).resolve().parent.parent
WREN = ROOT / "assets" / "pictures" / "wren.jpg"


@pytest.mark.parametrize("suffix", ["jpeg", "png", "webp"])
def test_a_broken_file_is_unusable_and_never_anything_else(tmp_path: Path, suffix: str):
    stored, rng = io.BytesIO(), np.random.default_rng(0)
    Image.open(WREN).resize((128, 96)).save(stored, suffix)
    whole, refused = stored.getvalue(), 0
    for _ in range(100):
        data = np.frombuffer(whole, dtype=np.uint8).copy()
        where = rng.integers(0, rng.choice([60, len(data)]), size=3)
        data[where] = rng.integers(0, 256, size=3)
        (tmp_path / "a").write_bytes(data[: rng.integers(1, 2 * len(data))].tobytes())
        try:
            assert read_bounded(tmp_path / "a").mode == "RGB"
        except Unusable as error:
            refused += 1
            assert str(error).startswith(("unreadable: ", "too small: "))
    assert refused > 30


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda head, rest: head + png_chunk(b"pHYs", b"abc") + rest, "Truncated pHYs chunk"),  # a ValueError
        (
            lambda head, rest: head + png_chunk(b"IDAT", b"x\x9c\xed") + png_chunk(b"H\xb9\x96\xa8", b""),
            "broken PNG file",
        ),
        (lambda head, rest: head + rest[:60], "truncated"),  # an OSError, as most are; the one above is a SyntaxError
    ],
)
def test_whatever_pillow_raises_for_a_broken_png_the_picture_is_named(tmp_path: Path, broken, message: str):
    stored = io.BytesIO()
    Image.open(WREN).resize((128, 96)).save(stored, "PNG")
    whole = stored.getvalue()
    start = whole.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(broken(whole[:start], whole[start:]))
    with pytest.raises(Unusable, match=f"unreadable: .*{message}"):
        read_bounded(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_pictures_of_any_mode_become_rgb_of_a_bounded_size(tmp_path: Path, mode: str):
    picture = (
        Image.fromarray(np.full((100, 200), 30000, dtype=np.uint16)) if mode == "I;16" else Image.new(mode, (200, 100))
    )
    picture.save(tmp_path / "a", "TIFF" if mode == "CMYK" else "PNG")
    read = read_bounded(tmp_path / "a", 128)
    assert read.mode == "RGB" and read.size == (128, 64)
    assert mode != "I;16" or read.getpixel((5, 5)) == (117, 117, 117)
    assert read_bounded(tmp_path / "a", 20).size == (20, 10)  # what is too small does not depend on what is asked for


def test_a_strip_is_too_small_once_it_is_reduced(tmp_path: Path):
    Image.new("RGB", (10000, 150)).save(tmp_path / "a.png")
    with pytest.raises(Unusable, match="at least 64 px, got 10000 x 150, kept as 4096 x 61"):
        read_bounded(tmp_path / "a.png")


def test_a_picture_over_pillows_limit_is_named(tmp_path: Path):
    Image.new("1", (20000, 9000)).save(tmp_path / "a.png")
    with pytest.raises(Unusable, match="unreadable: Image size .180000000 pixels. exceeds limit"):
        read_bounded(tmp_path / "a.png")


@pytest.mark.skipif(sys.platform == "win32", reason="the resource module is Unix's")
def test_a_huge_jpeg_never_lies_in_memory_whole(tmp_path: Path):
    Image.new("RGB", (12000, 9000), "tan").save(tmp_path / "huge.jpg")
    program = (
        "import resource, sys; from training.data.reading import read_bounded\n"
        "unit = 1 if sys.platform == 'darwin' else 1024\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit\n"
        f"before = peak(); read_bounded({str(tmp_path / 'huge.jpg')!r}); print(peak() - before)"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 350e6  # whole it is 432 MB in Pillow's four bytes a pixel, before anything is done to it


def test_reduced_sizes_keep_the_proportions():
    for size in ((12000, 9000), (4097, 333), (641, 427), (5, 4)):
        for longest in (4096, 640, 64):
            assert max(bounded_size(size, longest)) <= longest and same_proportions(size, bounded_size(size, longest))
    assert not same_proportions((640, 480), (480, 640)) and not same_proportions((640, 480), (640, 470))


# the list


def test_a_ledger_keeps_any_name_and_reason(tmp_path: Path):
    odd = ["a,b.jpg", 'a"b.jpg', "\u2028.jpg", "\udcff.jpg", "ä.jpg"]
    ledger = Ledger(tmp_path / "deep" / "list.csv")
    for name in odd:
        ledger.add(name, "refused", 'a, "b"\nc')
    assert read_rows(ledger.path) == Ledger(ledger.path).rows == dict.fromkeys(odd, ("refused", 'a, "b" c'))
    with open(ledger.path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [row["picture"] for row in csv.DictReader(file)] == odd


def test_another_csv_is_not_taken_for_a_ledger(tmp_path: Path):
    (tmp_path / "list.csv").write_text("name,score\nx,1\n")
    with pytest.raises(ValueError, match="must have the columns picture, status, reason, got .*list.csv without"):
        Ledger(tmp_path / "list.csv")
    assert (tmp_path / "list.csv").read_text() == "name,score\nx,1\n"
