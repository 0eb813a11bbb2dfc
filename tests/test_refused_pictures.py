"""Files that are not read or not written: one sentence that names the file, and nothing left behind."""

import builtins
import os
import re
import resource
import stat
import struct
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import picture_kinds
import pytest
import tifffile
import torch
from picture_kinds import KINDS, Kind
from PIL import Image

from inpainting_core.picture_files import check_target, read_mask, read_picture, write_picture

WREN = Path(__file__).resolve().parent.parent / "assets" / "pictures" / "wren.jpg"
HOLE = torch.zeros(1, 1, 20, 30)
HOLE[..., 4:9, 5:12] = 1


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("read", [read_picture, read_mask])
@pytest.mark.parametrize("name", ["nothing.png", "."])
def test_a_missing_file_is_named(tmp_path: Path, name: str, read):
    with pytest.raises(FileNotFoundError, match="a picture must be a file that exists, got "):
        read(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"no picture", b"%PDF-1.7", b"II*\0", b"\x89PNG\r\n\x1a\n"])
def test_no_picture_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match="a.png must be a "):
        read_picture(tmp_path / "a.png")


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path):
    (tmp_path / "a.png").touch(mode=0)
    with pytest.raises(ValueError, match="a.png .*Permission denied"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_whatever_breaks_a_file_it_is_named_or_read(tmp_path: Path, kind: Kind, rng: np.random.Generator):
    path = tmp_path / f"a{kind.suffix}"
    picture_kinds.write(path, kind, picture_kinds.random_samples(kind, 30, 20, rng), 6, rng)
    whole, refused = path.read_bytes(), 0
    for _ in range(60):
        data = np.frombuffer(whole, dtype=np.uint8).copy()
        data[rng.integers(0, rng.choice([60, len(data)]), size=3)] = rng.integers(0, 256, size=3)
        path.write_bytes(data[: rng.integers(1, 2 * len(data))].tobytes())
        try:
            assert read_picture(path).image.isfinite().all()
        except ValueError as error:
            refused += 1
            assert str(error).startswith(path.name), error
    assert refused > 5


def test_frames_and_pages_are_counted(tmp_path: Path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for ending, what in ((".gif", "frames"), (".webp", "frames"), (".png", "frames"), (".tif", "pages")):
        frames[0].save(tmp_path / f"a{ending}", save_all=True, append_images=frames[1:])
        with pytest.raises(ValueError, match=f"a{ending} must hold one picture, got 3 {what}: save the one to work on"):
            read_picture(tmp_path / f"a{ending}")


def test_a_smaller_copy_is_no_page_and_goes(tmp_path: Path, rng: np.random.Generator):
    stored = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(stored, photometric="rgb")
        file.write(stored[::2, ::2], photometric="rgb", subfiletype=1)
    picture = read_picture(tmp_path / "a.tif")
    write_picture(tmp_path / "b.tif", picture.image, picture, HOLE)
    assert Image.open(tmp_path / "b.tif").n_frames == 1
    tifffile.imwrite(tmp_path / "raw.tif", stored, photometric="rgb", subfiletype=1)
    with pytest.raises(ValueError, match="raw.tif must hold a picture, .*a camera's raw file"):
        read_picture(tmp_path / "raw.tif")


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_point_is_refused(tmp_path: Path, shape: tuple, dtype: type):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, dtype), photometric="rgb" if len(shape) == 3 else "minisblack")
    with pytest.raises(ValueError, match="a.tif must hold whole numbers of 8 or 16 bits, got float.*: save it with 16"):
        read_picture(tmp_path / "a.tif")


def test_grey_beyond_16_bits_is_refused(tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((20, 30), 70000, np.int32))
    with pytest.raises(ValueError, match="a.tif must hold grey values from 0 to 65535, got 70000 to 70000"):
        read_picture(tmp_path / "a.tif")


def test_an_avif_of_more_than_8_bits_is_refused(tmp_path: Path, rng: np.random.Generator):
    stored = rng.integers(0, 1024, (20, 30, 3)).astype(np.uint16)
    (tmp_path / "a.avif").write_bytes(imagecodecs.avif_encode(stored, bitspersample=10))
    with pytest.raises(ValueError, match="a.avif must hold 8 bits a sample"):
        read_picture(tmp_path / "a.avif")


def test_too_much_to_say_for_a_jpeg_is_said_before_the_work(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010E] = "x" * 70000
    Image.new("RGB", (30, 20)).save(tmp_path / "in.png", exif=exif)
    picture = read_picture(tmp_path / "in.png")
    check_target(tmp_path / "out.webp", picture)
    with pytest.raises(ValueError, match="out.jpg cannot hold 70.* bytes of EXIF, a JPEG has room for 65000"):
        check_target(tmp_path / "out.jpg", picture)


def test_too_large_a_picture_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Above Pillow's limit (179 million pixels, made lower here); what it only warns of, half of that, is read."""
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30, 3), np.uint16), photometric="rgb")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    assert read_picture(tmp_path / "a.png").image.shape[-2:] == read_picture(tmp_path / "a.tif").image.shape[-2:]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 299)
    for name in ("a.png", "a.tif"):
        with pytest.raises(ValueError, match=f"{name} is too large a picture"):
            read_picture(tmp_path / name)


def zeros(count: int) -> bytes:
    """So many zeros, deflated: a thousandth of them."""
    deflate = zlib.compressobj(9)
    return b"".join(deflate.compress(bytes(2**20)) for _ in range(count // 2**20)) + deflate.flush()


def png(width: int, height: int, depth: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG in colour of these chunks, whatever they hold."""
    header = struct.pack(">LLBBBBB", width, height, depth, 2, 0, 0, 0)
    every = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    made = [struct.pack(">L", len(c)) + name + c + struct.pack(">L", zlib.crc32(name + c)) for name, c in every]
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


MUCH = zeros(2**29)
QUARTER = 2**28 if sys.platform == "darwin" else 2**18  # of a gigabyte, in the unit of ru_maxrss
BLACK = (b"IDAT", zlib.compress(bytes(10 * 31)))
BOMBS = {
    "a size of 900 million pixels": png(30000, 30000, 8),
    "the same of 16 bits": png(30000, 30000, 16),
    "a row of 2 billion": png(2**31 - 1, 1, 8),
    "more than its picture": png(10, 10, 8, (b"IDAT", MUCH)),
    "a profile": png(10, 10, 8, (b"iCCP", b"x\0\0" + MUCH), BLACK),
    "a text": png(10, 10, 8, (b"zTXt", b"x\0\0" + MUCH), BLACK),
    "XMP": png(10, 10, 8, (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + MUCH), BLACK),
}


@pytest.mark.parametrize("read", [read_picture, read_mask])
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_cannot_fill_the_memory(tmp_path: Path, bomb: str, read):
    """Each would be half a gigabyte or more, unpacked."""
    (tmp_path / "a.png").write_bytes(BOMBS[bomb])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read(tmp_path / "a.png")
    except ValueError as error:
        assert re.match("a.png (is too large a picture: |must be a whole picture file, but )", str(error))
    else:
        assert bomb == "more than its picture"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < QUARTER


def test_a_file_of_many_gigabytes_is_not_even_opened(tmp_path: Path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(2**36)
    for read in (read_picture, read_mask):
        with pytest.raises(ValueError, match="a.png is too large a picture: a file of 64 GB."):
            read(tmp_path / "a.png")


def test_what_to_install_for_16_bits_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator):
    def without(name: str, *rest, **also):
        if name in ("imagecodecs", "tifffile"):
            raise ModuleNotFoundError(name)
        return real(name, *rest, **also)

    for ending in (".png", ".tif"):
        kind = Kind(ending, "RGB", 16)
        picture_kinds.write(tmp_path / f"a{ending}", kind, picture_kinds.random_samples(kind, 30, 20, rng), 1, rng)
    real = builtins.__import__
    for name in ("imagecodecs", "tifffile"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    for ending in (".png", ".tif"):
        with pytest.raises(ValueError, match=f"a{ending} cannot be read: .*: pip install imagecodecs tifffile"):
            read_picture(tmp_path / f"a{ending}")


@pytest.mark.parametrize(
    ("mode", "name", "sentence"),
    [
        ("RGB", "a", "a must end in one of .png, .jpg, "),
        ("RGB", "a.psd", "a.psd must end in one of .png, .jpg, "),
        ("RGBA", "a.jpg", "a.jpg cannot hold the picture's transparency, for JPEG has none: give .* ending .png"),
        ("I;16", "a.jpg", "a.jpg cannot hold the picture's 16 bits a sample, JPEG has 8: give .* .png or .tif"),
        ("I;16", "a.webp", "a.webp cannot hold the picture's 16 bits"),
        ("RGB", "a.gif", "a.gif cannot hold more than 256 colours"),
        ("long", "a.webp", "a.webp cannot hold 17000 x 1 pixels, WEBP ends at 16383 a side"),
    ],
)
def test_what_a_target_cannot_hold_is_said_before_the_work(tmp_path: Path, mode: str, name: str, sentence: str):
    size = (17000, 1) if mode == "long" else (30, 20)
    Image.new("L" if mode == "long" else mode, size).save(tmp_path / "in.png")
    picture = read_picture(tmp_path / "in.png")
    with pytest.raises(ValueError, match=sentence):
        check_target(tmp_path / name, picture)
    with pytest.raises(ValueError, match=sentence):
        write_picture(tmp_path / name, picture.image, picture, picture.image[:, :1])
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_a_result_is_read_by_whoever_reads_the_rest_and_replaces_the_old_one(tmp_path: Path):
    (tmp_path / "other").touch()
    (tmp_path / "out.jpg").write_bytes(b"an older result")
    picture = read_picture(WREN)
    write_picture(tmp_path / "out.jpg", picture.image, picture, picture.image[:, :1] * 0)
    assert stat.S_IMODE((tmp_path / "out.jpg").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out.jpg"]


def test_nothing_is_left_of_a_write_that_fails(tmp_path: Path):
    picture = read_picture(WREN)
    (tmp_path / "out.jpg").mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError):
        write_picture(tmp_path / "out.jpg", picture.image, picture, picture.image[:, :1])
    assert [path.name for path in tmp_path.iterdir()] == ["out.jpg"]
