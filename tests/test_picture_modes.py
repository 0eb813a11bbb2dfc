"""Modes that need a thought of their own: few colours, one transparent colour, other colours than RGB."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from picture_kinds import with_chunk
from PIL import Image, ImageCms

from inpainting_core.picture_files import read_mask, read_picture, write_picture

HOLE = (slice(4, 12), slice(6, 18))
SRGB = ImageCms.createProfile("sRGB")


def numbers(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def fill_in(path: Path, colour: tuple[float, float, float], ending: str | None = None) -> Path:
    """The result's file, with one colour in the hole."""
    picture = read_picture(path)
    changed = torch.zeros(1, 1, *picture.image.shape[-2:])
    changed[0, 0][HOLE] = 1
    image = torch.where(changed > 0, torch.tensor(colour)[:, None, None], picture.image[:, :3])
    result = path.with_name(f"result{ending or path.suffix}")
    write_picture(result, image, picture, changed)
    return result


def outside(shape: tuple[int, ...]) -> np.ndarray:
    plane = np.ones(shape[:2], bool)
    plane[HOLE] = False
    return plane


def test_sixteen_bits_come_back_where_nothing_changed(tmp_path: Path):
    """Pillow's plain conversion makes such a picture white."""
    stored = numbers(20, 30, dtype=np.uint16)
    Image.fromarray(stored).save(tmp_path / "g.png")
    read = read_picture(tmp_path / "g.png").image
    assert torch.equal(read[0, 0], torch.from_numpy(stored.astype(np.float32) / 65535))
    result = np.asarray(Image.open(fill_in(tmp_path / "g.png", (0.5, 0.5, 0.5))))
    assert result.dtype == np.uint16 and (result[outside(stored.shape)] == stored[outside(stored.shape)]).all()
    assert (result[HOLE] == 32768).all()


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_grey_tiff_of_either_byte_order_and_polarity(tmp_path: Path, byteorder: str, photometric: str):
    stored = numbers(20, 30, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "g.tif", stored, byteorder=byteorder, photometric=photometric)
    shown = stored if photometric == "minisblack" else 65535 - stored
    assert np.array_equal(read_picture(tmp_path / "g.tif").content.stored.samples, shown)
    assert np.array_equal(read_picture(fill_in(tmp_path / "g.tif", (0, 0, 0))).content.stored.samples[12:], shown[12:])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_samples_beside_the_colour_stay(tmp_path: Path, kind: int, bits: int):
    """Unsaid (as Photoshop's channels), colours times their alpha (which Pillow divides, with loss), plain alpha."""
    stored = numbers(20, 30, 4, dtype=np.uint16 if bits == 16 else np.uint8)
    if kind == 1:
        stored[..., :3] = stored[..., :3] * (stored[..., 3:] / np.iinfo(stored.dtype).max)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=[kind])
    assert read_picture(tmp_path / "a.tif").image.shape[1] == (3 if kind == 0 else 4)
    result = fill_in(tmp_path / "a.tif", (0.2, 0.4, 0.6))
    with tifffile.TiffFile(result) as file:
        written = file.pages[0].asarray()
        assert tuple(int(extra) for extra in file.pages[0].extrasamples) == (kind,)
    assert (written[outside(stored.shape)] == stored[outside(stored.shape)]).all()
    assert (written[..., 3] == stored[..., 3]).all()
    share = stored[HOLE][..., 3:] if kind == 1 else np.iinfo(stored.dtype).max
    assert abs(written[HOLE][..., :3] - share * np.array([0.2, 0.4, 0.6])).max() <= 0.51


@pytest.mark.parametrize("key", [(90, 80, 70), 90])
def test_a_transparent_colour_stays_one_and_no_fill_takes_it_on(tmp_path: Path, key):
    mode = "RGB" if isinstance(key, tuple) else "L"
    stored = numbers(20, 30, 3) if mode == "RGB" else numbers(20, 30)
    stored[:8] = key
    Image.fromarray(stored).save(tmp_path / "k.png", transparency=key)
    before = read_picture(tmp_path / "k.png").image[:, 3]
    assert before.shape[0] == 1 and (before[0, :8] == 0).all()
    colour = tuple(float(value) / 255 for value in (key if mode == "RGB" else (key,) * 3))
    result = fill_in(tmp_path / "k.png", colour)
    assert Image.open(result).info["transparency"] == key
    assert torch.equal(read_picture(result).image[:, 3], before)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_transparent_grey_of_few_bits(tmp_path: Path, bits: int):
    """Written by hand: Pillow writes no such file, and takes the key for one of 8 bits."""
    head, row = struct.pack(">LLBBBBB", 2, 1, bits, 0, 0, 0, 0), bytes([0, 1 << (8 - 2 * bits)])  # 0, 1
    png = b"\x89PNG\r\n\x1a\n"
    for chunk in ((b"IHDR", head), (b"tRNS", b"\x00\x01"), (b"IDAT", zlib.compress(row)), (b"IEND", b"")):
        png += with_chunk(bytes(33), *chunk)[33:]
    (tmp_path / "k.png").write_bytes(png)
    for path in (tmp_path / "k.png", fill_in(tmp_path / "k.png", (0, 0, 0))):
        image = read_picture(path).image
        assert image[0, 3].tolist() == [[1, 0]]
        assert image[0, 0, 0, 1] == pytest.approx(1 / (2**bits - 1))


@pytest.mark.parametrize("clear", [3, bytes([0, 255, 128, *[255] * 253])])
def test_a_palette_keeps_its_numbers_and_its_transparency(tmp_path: Path, clear):
    stored = numbers(20, 30) % 16
    picture = Image.fromarray(stored, "P")
    picture.putpalette(numbers(16 * 3).tobytes())
    picture.save(tmp_path / "p.png", transparency=clear)
    result = fill_in(tmp_path / "p.png", (0.2, 0.4, 0.6))
    with Image.open(result) as file:
        written = np.asarray(file)
        assert file.mode == "P" and (written[outside(stored.shape)] == stored[outside(stored.shape)]).all()
        colours = np.asarray(file.convert("RGBA"))[HOLE]
    before = np.asarray(Image.open(tmp_path / "p.png").convert("RGBA"))[HOLE]
    assert (colours[..., 3] == before[..., 3]).all()
    assert (colours[before[..., 3] == 255][:, :3] == (51, 102, 153)).all()


def test_a_full_palette_gives_the_nearest_colour(tmp_path: Path):
    stored = np.arange(256, dtype=np.uint8).repeat(4).reshape(32, 32)
    picture = Image.fromarray(stored, "P")
    picture.putpalette(np.arange(256, dtype=np.uint8).repeat(3).tobytes())
    picture.save(tmp_path / "p.png")
    changed = torch.zeros(1, 1, 32, 32)
    changed[..., :16:4] = 1  # every index is in use elsewhere, too
    read = read_picture(tmp_path / "p.png")
    write_picture(tmp_path / "q.png", torch.full((1, 3, 32, 32), 0.4), read, changed)
    written = Image.open(tmp_path / "q.png")
    assert written.getpalette() == picture.getpalette()
    assert (np.asarray(written)[:, :16:4] == 102).all()


def test_a_fill_of_many_colours_gets_those_that_a_palette_has_room_for(tmp_path: Path):
    picture = Image.fromarray(numbers(64, 64) % 200, "P")
    picture.putpalette(numbers(768).tobytes())
    picture.save(tmp_path / "p.png")
    read, changed = read_picture(tmp_path / "p.png"), torch.zeros(1, 1, 64, 64)
    changed[..., 16:48, 16:48] = 1
    ramp = torch.stack(torch.meshgrid(torch.linspace(0.3, 0.5, 64), torch.linspace(0.3, 0.5, 64), indexing="ij"))
    image = torch.cat([ramp, ramp[:1] * 0 + 0.4])[None]
    write_picture(tmp_path / "q.png", image, read, changed)
    away = (read_picture(tmp_path / "q.png").image - image).abs() * changed
    assert away.max() < 0.05 and away.sum() / changed.sum() / 3 < 0.01


def ink_profile() -> bytes:
    """A CMYK profile of eight-bit tables that knows lightness alone, and prints it with black alone."""

    def table(inputs: int, outputs: int, nodes: np.ndarray) -> bytes:
        linear = np.arange(256, dtype=np.uint8)
        unchanged = struct.pack(">9l", *(np.eye(3, dtype=int) * 65536).ravel().tolist())
        head = b"mft1" + bytes(4) + bytes([inputs, outputs, 2, 0]) + unchanged
        return head + np.tile(linear, inputs).tobytes() + nodes.tobytes() + np.tile(linear, outputs).tobytes()

    inks, lab = (np.stack(np.meshgrid(*[[0, 1]] * n, indexing="ij"), -1).reshape(-1, n) for n in (4, 3))
    light = ((1 - inks) * 255).min(1).astype(np.uint8)
    to_lab = np.stack([light, light * 0 + 128, light * 0 + 128], -1)
    to_inks = np.stack([*[lab[:, 0] * 0] * 3, (1 - lab[:, 0]) * 255], -1).astype(np.uint8)
    white = struct.pack(">3l", 63190, 65536, 54061)
    tags = {
        b"A2B0": table(4, 3, to_lab),
        b"B2A0": table(3, 4, to_inks),
        b"desc": b"desc" + bytes(4) + struct.pack(">L", 4) + b"ink\x00" + bytes(79),
        b"cprt": b"text" + bytes(4) + b"none\x00",
        b"wtpt": b"XYZ " + bytes(4) + white,
    }
    listed, content, at = b"", b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        tag += bytes(-len(tag) % 4)
        listed += name + struct.pack(">LL", at + len(content), len(tag))
        content += tag
    head = bytes(4) + struct.pack(">L4s4s4s", 0x02400000, b"prtr", b"CMYK", b"Lab ") + bytes(12) + b"acsp" + bytes(28)
    head = b"".join([bytes(4), head, white]).ljust(128, b"\0")
    whole = head + struct.pack(">L", len(tags)) + listed + content
    return struct.pack(">L", len(whole)) + whole[4:]


@pytest.mark.parametrize("profile", ["none", "ink", "of other colours"])
@pytest.mark.parametrize("ending", [".jpg", ".tif"])
def test_cmyk_stays_cmyk(tmp_path: Path, ending: str, profile: str):
    """A profile for other colours than the file's own, which people's files have, is carried and not used."""
    own = {"none": None, "ink": ink_profile(), "of other colours": ImageCms.ImageCmsProfile(SRGB).tobytes()}[profile]
    stored = numbers(20, 30, 4)
    stored[:] = stored[:1, :1] // 2
    Image.frombytes("CMYK", (30, 20), stored.tobytes()).save(tmp_path / f"c{ending}", quality=100, icc_profile=own)
    before = np.asarray(Image.open(tmp_path / f"c{ending}"))
    colour = (0.5, 0.5, 0.5) if profile == "ink" else (0.2, 0.4, 0.6)
    result = fill_in(tmp_path / f"c{ending}", colour)
    with Image.open(result) as file:
        written = np.asarray(file)
        assert file.mode == "CMYK" and file.info.get("icc_profile") == own
    assert abs(written.astype(int) - before)[outside(before.shape)].max() <= (0 if ending == ".tif" else 3)
    filled = read_picture(result).image[0, :, 6:10, 8:16]
    assert (filled - torch.tensor(colour)[:, None, None]).abs().max() < 0.03
    if profile == "ink":  # as it prints, not as Pillow takes three inks for grey
        assert written[6:10, 8:16, :3].max() <= 2


def test_bilevel_is_thresholded(tmp_path: Path):
    Image.fromarray(numbers(20, 30) > 128).save(tmp_path / "b.png")
    for grey in (0.4, 0.6):
        assert (np.asarray(Image.open(fill_in(tmp_path / "b.png", (grey,) * 3)))[HOLE] == (grey > 0.5)).all()


def test_a_bmp_keeps_its_alpha(tmp_path: Path):
    stored = numbers(21, 31, 4)
    Image.fromarray(stored).save(tmp_path / "a.png")
    fill_in(tmp_path / "a.png", (0, 0, 0), ".bmp").rename(tmp_path / "b.bmp")
    result = fill_in(tmp_path / "b.bmp", (0.2, 0.4, 0.6))
    with Image.open(result) as file:
        written = np.asarray(file)
        assert file.mode == "RGBA"
    assert (written[outside(stored.shape)] == stored[outside(stored.shape)]).all()
    assert (written[..., 3] == stored[..., 3]).all() and (written[HOLE][:, :, :3] == (51, 102, 153)).all()


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1", "LA"])
@pytest.mark.parametrize("ending", [".png", ".webp", ".bmp", ".tif"])
def test_another_format_than_the_originals_shows_the_same(tmp_path: Path, mode: str, ending: str):
    origin = tmp_path / ("in.tif" if mode == "CMYK" else "in.png")
    Image.fromarray(numbers(20, 30, 4)).convert(mode).save(origin)
    before, after = (read_picture(path).image for path in (origin, fill_in(origin, (0.5, 0.5, 0.5), ending)))
    assert torch.equal(before[..., 12:, :], after[..., 12:, :])


def test_a_mask_of_a_picture_without_loss_is_itself_soft(tmp_path: Path):
    soft = np.tile(np.linspace(0, 255, 30).astype(np.uint8), (20, 1))
    soft[:, :18] = 0
    Image.fromarray(soft).save(tmp_path / "m.png")
    assert torch.equal(read_mask(tmp_path / "m.png")[0, 0], torch.from_numpy(soft.astype(np.float32) / 255))
