"""What a file says of itself goes into its result: true for the upright picture, and without the erased object."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_kinds import with_chunk
from PIL import Image, ImageCms, PngImagePlugin

from inpainting_core.picture_files import read_picture, write_picture
from inpainting_core.pictures.metadata import upright_exif, without_thumbnails

ORIENTATION, MAKE, EXIF, GPS, WIDTH, HEIGHT, NOTE = 0x0112, 0x010F, 0x8769, 0x8825, 0xA002, 0xA003, 0x927C
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6" dc:creator="me"/></x:xmpmeta>'
IPTC = b"8BIM\x04\x04\x00\x00\x00\x00\x00\x07Caption\x00"
ENDINGS = (".jpg", ".png", ".webp", ".tif", ".avif")


def exif_of_a_phone(orientation: int = 6) -> bytes:
    """Maker, sides, place and a maker's note, with a thumbnail behind, as cameras write it."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = orientation, "Phone"
    exif.get_ifd(EXIF).update({WIDTH: 40, HEIGHT: 30, NOTE: b"note\x00\x01" * 4, 0x9003: "2024:05:06 07:08:09"})
    exif.get_ifd(GPS).update({1: "N", 2: (1.0, 2.0, 3.0)})
    thumbnail = b"\xff\xd8THUMBNAIL\xff\xd9"
    data = bytearray(exif.tobytes().removeprefix(b"Exif\0\0"))
    order = "little" if data[:2] == b"II" else "big"
    start = int.from_bytes(data[4:8], order)
    following = start + 2 + 12 * int.from_bytes(data[start : start + 2], order)
    data[following : following + 4] = len(data).to_bytes(4, order)
    entries = ((0x0103, 3, 6), (0x0201, 4, len(data) + 2 + 3 * 12 + 4), (0x0202, 4, len(thumbnail)))
    data += len(entries).to_bytes(2, order)
    for tag, kind, value in entries:
        data += tag.to_bytes(2, order) + kind.to_bytes(2, order) + (1).to_bytes(4, order)
        data += value.to_bytes(2, order) + bytes(2) if kind == 3 else value.to_bytes(4, order)
    return bytes(data + bytes(4) + thumbnail)


@pytest.fixture
def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8))


def result_of(path: Path, ending: str | None = None) -> Path:
    """The file written for a picture in which a hole was filled."""
    picture = read_picture(path)
    changed = torch.zeros(1, 1, *picture.image.shape[-2:])
    changed[..., 4:9, 5:12] = 1
    result = path.with_name(f"result{ending or path.suffix}")
    write_picture(result, picture.image * 0.5, picture, changed)
    return result


def save(noise: Image.Image, path: Path, **also) -> Path:
    """A picture of a phone as its format holds one."""
    exif = b"Exif\0\0" + exif_of_a_phone()
    if path.suffix == ".tif":  # Pillow's writer takes EXIF's own tags only as its class
        loaded = Image.Exif()
        loaded.load(exif)
        exif = loaded
    noise.save(path, exif=exif, icc_profile=SRGB, **also)
    return path


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("origin", ENDINGS)
def test_what_a_camera_noted_stays_and_is_true(noise: Image.Image, tmp_path: Path, origin: str, ending: str):
    path = save(noise, tmp_path / f"in{origin}")
    assert (b"THUMBNAIL" in path.read_bytes()) == (origin in (".jpg", ".png", ".webp"))
    result = result_of(path, ending)
    with Image.open(result) as file:
        file.load()
        exif = file.getexif()
        assert file.size == (30, 40) and exif.get(ORIENTATION, 1) == 1
        assert exif[MAKE] == "Phone" and exif.get_ifd(GPS)[2] == (1.0, 2.0, 3.0)
        assert (exif.get_ifd(EXIF)[WIDTH], exif.get_ifd(EXIF)[HEIGHT]) == (30, 40)
        assert exif.get_ifd(EXIF)[NOTE] == b"note\x00\x01" * 4
        assert file.info["icc_profile"] == SRGB
    assert b"THUMBNAIL" not in result.read_bytes()


@pytest.mark.parametrize("order", ["little", "big"])
def test_exif_is_edited_in_place(order: str):
    exif = exif_of_a_phone()
    if order == "big":
        loaded = Image.Exif()
        loaded.endian = ">"
        loaded[ORIENTATION], loaded[MAKE] = 6, "Phone"
        exif = loaded.tobytes().removeprefix(b"Exif\0\0")
        assert exif[:2] == b"MM"
    edited = upright_exif(exif, turned=True)
    assert len(edited) == len(exif)
    read = Image.Exif()
    read.load(b"Exif\0\0" + edited)
    assert read[ORIENTATION] == 1 and read[MAKE] == "Phone"
    assert upright_exif(edited, turned=False) == edited


@pytest.mark.parametrize("exif", [b"", b"nothing of the kind", b"II*\x00\xff\xff\xff\xff", exif_of_a_phone()[:60]])
def test_damaged_exif_is_left_out(exif: bytes):
    assert upright_exif(exif, turned=False) == b""


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_xmp_stays_and_turns_the_picture_where_exif_says_nothing(noise: Image.Image, tmp_path: Path, ending: str):
    if ending == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        noise.save(tmp_path / "in.png", pnginfo=info)
    elif ending == ".tif":
        noise.save(tmp_path / "in.tif", tiffinfo={700: XMP.replace(b'"6"', b'"1"')})
    else:
        noise.save(tmp_path / f"in{ending}", xmp=XMP)
    result = result_of(tmp_path / f"in{ending}")
    with Image.open(result) as file:
        file.load()
        assert re.search(rb'tiff:Orientation="1" dc:creator="me"', file.info["xmp"])
        assert file.size == ((40, 30) if ending == ".tif" else (30, 40))


@pytest.mark.parametrize("ending", [".jpg", ".tif"])
def test_captions_stay_and_photoshops_thumbnail_goes(noise: Image.Image, tmp_path: Path, ending: str):
    thumbnail = b"8BIM\x04\x0c\x00\x00\x00\x00\x00\x05small\x00"
    content = b"Photoshop 3.0\x00" + thumbnail + IPTC
    segment = b"\xff\xed" + (len(content) + 2).to_bytes(2, "big") + content
    noise.save(tmp_path / "in.jpg", extra=segment, comment=b"a comment", dpi=(300, 200))
    result = result_of(tmp_path / "in.jpg", ending)
    assert IPTC in result.read_bytes() and b"small" not in result.read_bytes()
    with Image.open(result) as file:
        assert file.info["dpi"] == (300, 200)
        assert ending == ".tif" or file.info["comment"] == b"a comment"


def test_captions_that_fill_several_segments_stay(noise: Image.Image, tmp_path: Path):
    """Photoshop's paths and history make them long."""
    long = b"8BIM\x07\xd0\x00\x00" + (90000).to_bytes(4, "big") + bytes(90000)
    parts = [(long + IPTC)[at : at + 60000] for at in (0, 60000)]
    segments = [b"Photoshop 3.0\x00" + part for part in parts]
    noise.save(tmp_path / "in.jpg", extra=b"".join(b"\xff\xed" + (len(s) + 2).to_bytes(2, "big") + s for s in segments))
    assert IPTC in result_of(tmp_path / "in.jpg").read_bytes()


def test_a_grey_profile_does_not_go_into_a_colour_file(tmp_path: Path):
    profile = SRGB[:16] + b"GRAY" + SRGB[20:]
    Image.new("L", (40, 30)).save(tmp_path / "in.png", icc_profile=profile)
    for ending, kept in ((".png", profile), (".webp", None)):
        with Image.open(result_of(tmp_path / "in.png", ending)) as file:
            assert file.info.get("icc_profile") == kept


def test_a_name_of_a_resource_is_no_obstacle():
    named = b"8BIM\x04\x0c\x03abc\x00\x00\x00\x02xy"
    assert without_thumbnails(named + IPTC) == IPTC
    assert without_thumbnails(IPTC + b"8BIM") == IPTC


@pytest.mark.parametrize("bits", [8, 16])
def test_a_pngs_texts_and_the_meaning_of_its_numbers_stay(noise: Image.Image, tmp_path: Path, bits: int):
    from imagecodecs import png_encode

    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", '{"nodes": []}')
    info.add_text("Comment", "long " * 100, zip=True)
    info.add_itxt("Title", "Größe", "de", "Titel")
    noise.save(tmp_path / "in.png", pnginfo=info, dpi=(300, 300))
    if bits == 16:
        eight = (tmp_path / "in.png").read_bytes()
        deep = png_encode(np.asarray(noise).astype(np.uint16) * 257)
        (tmp_path / "in.png").write_bytes(deep[:33] + eight[33 : eight.index(b"IDAT") - 4] + deep[33:])
    gamma = with_chunk((tmp_path / "in.png").read_bytes(), b"gAMA", (45455).to_bytes(4, "big"))
    (tmp_path / "in.png").write_bytes(gamma)
    with Image.open(result_of(tmp_path / "in.png")) as file:
        file.load()
        assert file.text["workflow"] == '{"nodes": []}' and file.text["Comment"] == "long " * 100
        assert (file.text["Title"], file.text["Title"].lang) == ("Größe", "de")
        assert file.info["gamma"] == 0.45455 and round(file.info["dpi"][0]) == 300


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_a_tiff_keeps_its_compression_where_that_loses_nothing(noise: Image.Image, tmp_path: Path, compression: str):
    noise.save(tmp_path / "in.tif", compression=compression, tiffinfo={270: "what it shows", 42112: "<GDAL/>"})
    before = np.asarray(Image.open(tmp_path / "in.tif"))
    with Image.open(result_of(tmp_path / "in.tif")) as file:
        assert file.info["compression"] == {"jpeg": "tiff_adobe_deflate"}.get(compression, compression)
        assert file.tag_v2[270] == "what it shows" and file.tag_v2[42112] == "<GDAL/>"
        assert (np.asarray(file)[20:] == before[20:]).all()


def test_a_phones_jpeg_of_two_pictures_is_read_as_its_first(noise: Image.Image, tmp_path: Path):
    noise.save(tmp_path / "in.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (40, 30))])
    assert Image.open(tmp_path / "in.jpg").format == "MPO"
    with Image.open(result_of(tmp_path / "in.jpg")) as file:
        assert file.format == "JPEG" and file.size == noise.size


def test_a_photograph_as_jpeg_moves_by_at_most_five_levels(tmp_path: Path):
    wren = Path(__file__).resolve().parent.parent / "assets" / "pictures" / "wren.jpg"
    (tmp_path / "in.jpg").write_bytes(wren.read_bytes())
    before, after = (np.asarray(Image.open(path)).astype(int) for path in (wren, result_of(tmp_path / "in.jpg")))
    assert abs(after - before)[24:].max() <= 5
    stored = BytesIO((tmp_path / "result.jpg").read_bytes())
    assert [layer[1:3] for layer in Image.open(stored).layer] == [(1, 1)] * 3  # 4:4:4
