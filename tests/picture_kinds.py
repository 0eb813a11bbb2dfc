"""Picture files of every kind, written by the libraries themselves, and what such a file holds, read by them too."""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps

SAMPLES = {"1": 1, "L": 1, "LA": 2, "P": 1, "PA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3, "LAB": 3}


@dataclass(frozen=True)
class Kind:
    """A format (by its ending), a mode and a depth."""

    suffix: str
    mode: str
    bits: int = 8

    @property
    def lossless(self) -> bool:
        return self.suffix in (".png", ".tif", ".bmp", ".gif", ".webp")

    @property
    def by_pillow(self) -> bool:
        """Whether Pillow reads and writes it as it is."""
        return self.bits == 8 or self.mode == "L"

    @property
    def can_be_turned(self) -> bool:
        return self.suffix not in (".bmp", ".gif")


KINDS = [
    *(Kind(".png", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
    *(Kind(".tif", mode) for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB")),
    *(Kind(".bmp", mode) for mode in ("1", "L", "P", "RGB")),
    *(Kind(".webp", mode) for mode in ("RGB", "RGBA")),
    *(Kind(".png", mode, 16) for mode in ("L", "LA", "RGB", "RGBA")),
    *(Kind(".tif", mode, 16) for mode in ("L", "LA", "RGB", "RGBA", "CMYK")),
    Kind(".gif", "P"),
    Kind(".tif", "L", 32),
    *(Kind(".jpg", mode) for mode in ("L", "RGB", "CMYK")),
    *(Kind(".avif", mode) for mode in ("RGB", "RGBA")),
]


def random_samples(kind: Kind, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Noise over large flat areas, so that every value and every run is met."""
    shape = (height, width) if SAMPLES[kind.mode] == 1 else (height, width, SAMPLES[kind.mode])
    if kind.mode == "1":
        return rng.random(shape) < 0.5
    dtype = {8: np.uint8, 16: np.uint16, 32: np.int32}[kind.bits]
    samples = rng.integers(0, 2 ** min(kind.bits, 16), shape).astype(dtype)
    samples[: height // 2] = samples[0, 0]
    if kind.mode in ("P", "PA"):
        samples[samples >= 250] -= 10  # leaves the palette room for a fill's colours
    return samples


def write(path: Path, kind: Kind, samples: np.ndarray, orientation: int, rng: np.random.Generator) -> None:
    """The file as a camera or an editor would leave it, its samples as given, turned by its orientation alone."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind.by_pillow:
        picture = pillow_picture(kind, samples, rng)
        options = {"exif": exif} if kind.can_be_turned else {}
        if kind.suffix == ".webp":
            options |= {"lossless": True, "exact": True}
        picture.save(path, **options)
    elif kind.suffix == ".tif":
        photometric = {"CMYK": "separated", "RGB": "rgb", "RGBA": "rgb"}.get(kind.mode, "minisblack")
        beside = ["unassalpha"] if kind.mode in ("LA", "RGBA") else None
        tag = [(0x0112, 3, 1, orientation, True)]
        tifffile.imwrite(path, samples, photometric=photometric, extrasamples=beside, extratags=tag, metadata=None)
    else:
        path.write_bytes(with_chunk(imagecodecs.png_encode(samples), b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))


def pillow_picture(kind: Kind, samples: np.ndarray, rng: np.random.Generator) -> Image.Image:
    if kind.mode == "1":
        return Image.fromarray(samples)
    mode = {8: kind.mode, 16: "I;16", 32: "I"}[kind.bits]
    picture = Image.frombytes(mode, samples.shape[1::-1], samples.tobytes())
    if kind.mode in ("P", "PA"):
        picture.putpalette(rng.integers(0, 256, 768).astype(np.uint8).tobytes())
    return picture


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG with one chunk more behind its head."""
    chunk = struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))
    return png[:33] + chunk + png[33:]


def read(path: Path, kind: Kind, orientation: int = 1) -> tuple[str, np.ndarray]:
    """Mode and samples, upright; colours in place of indices, which a writer may number anew."""
    if not kind.by_pillow:
        samples = tifffile.imread(path) if kind.suffix == ".tif" else imagecodecs.png_decode(path.read_bytes())
        places = np.arange(samples.shape[0] * samples.shape[1], dtype=np.int32).reshape(samples.shape[:2])
        return kind.mode, samples.reshape(-1, *samples.shape[2:])[np.asarray(turned(places, orientation))]
    with Image.open(BytesIO(path.read_bytes())) as file:  # by a path, Pillow maps some TIFFs and forgets to turn them
        upright = ImageOps.exif_transpose(file)
        mode = "P" if path.suffix == ".gif" else upright.mode
        return mode, np.asarray(upright.convert("RGBA") if upright.mode in ("P", "PA") or mode == "P" else upright)


def turned(plane: np.ndarray, orientation: int) -> Image.Image:
    """A plane of numbers as a viewer turns it."""
    picture = Image.fromarray(plane)
    picture.getexif()[0x0112] = orientation
    return ImageOps.exif_transpose(picture)


def draw_mask(path: Path, hole: np.ndarray, convention: str) -> Path:
    """A hole as people's tools save it; ``path`` has no ending yet."""
    path = path.with_suffix(".tif" if "tiff" in convention else ".png")
    if convention.startswith("alpha"):
        planes = np.zeros((*hole.shape, 4), np.uint8)
        planes[..., :3] = {"alpha white": 255, "alpha black": 0}[convention]
        planes[..., 3] = hole * 255
    elif convention in COLOURS:
        planes = hole[..., None] * np.array(COLOURS[convention], np.uint8)
    elif convention == "bilevel":
        planes = hole
    else:
        planes = hole * NUMBERS[convention]
    Image.fromarray(planes).save(path)
    return path


COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "dark brown": (90, 50, 20), "ones": (1, 1, 1)}
NUMBERS = {
    "white": np.uint8(255),
    "0 and 1": np.uint8(1),
    "0 and 1 in a tiff": np.uint8(1),
    "16 bit": np.uint16(65535),
    "16 bit, 257": np.uint16(257),
    "16 bit, 255": np.uint16(255),
    "16 bit, 1": np.uint16(1),
    "16 bit tiff": np.uint16(65535),
}
CONVENTIONS = ["bilevel", "alpha white", "alpha black", *COLOURS, *NUMBERS]
