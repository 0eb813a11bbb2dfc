"""A picture's stored samples and what they look like: RGB in [0, 1] out of any mode, and new RGB laid into it.

Numbers are worked on in the file's own colours: an RGB or grey profile is neither applied nor changed.  What has no RGB
of its own (CMYK, Lab, YCbCr) is converted, by the embedded profile where there is one, and only where it changes.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from inpainting_core.pictures.palettes import OPAQUE, lay_into_palette

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601, as Pillow and JPEG weigh
GREY, RGB = ("1", "L", "La", "LA", "LX"), ("RGB", "RGBa", "RGBA", "RGBX")
PALETTES, CONVERTED = ("P", "PA"), ("CMYK", "YCbCr", "LAB")
ALPHA_LAST = ("LA", "La", "PA", "RGBA", "RGBa")
PREMULTIPLIED = ("La", "RGBa")


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds, upright, in its own mode and depth.

    mode: Pillow's name for the order of the samples (16-bit kinds have the name of their 8-bit kin; ``LX`` and ``RGBX``
    have more samples, of whatever kind, behind the colour).  samples: bool, uint8, uint16 or (grey alone) int32,
    ``[h, w]`` or ``[h, w, n]``.
    palette: RGBA of each index, ``[256, 4]``, of which the file lists the first ``listed``.  key: the one colour (in
    samples) that is transparent.  profile: ICC.
    """

    mode: str
    samples: np.ndarray
    palette: np.ndarray | None = None
    listed: int = 0
    key: tuple[int, ...] | None = None
    profile: bytes | None = None

    @property
    def full(self) -> int:
        """The sample that stands for 1; 32-bit grey is read as far as 16 bits go."""
        return {"bool": 1, "uint8": 255}.get(self.samples.dtype.name, 65535)

    @property
    def depth(self) -> int:
        """Bits a sample."""
        return 1 if self.samples.dtype == bool else 8 * self.samples.dtype.itemsize

    @property
    def is_deep(self) -> bool:
        """Whether no picture of Pillow's holds this: 16-bit colour, colour times alpha, samples beside the colour."""
        return (self.depth == 16 and self.mode != "L") or self.mode in (*PREMULTIPLIED, "LX", "RGBX")

    @property
    def clear_colours(self) -> bool:
        """Whether the palette has colours that are not opaque."""
        return self.palette is not None and bool((self.palette[:, 3] < OPAQUE).any())

    @property
    def has_alpha(self) -> bool:
        return self.mode in ALPHA_LAST or self.key is not None or self.clear_colours

    @property
    def planes(self) -> np.ndarray:
        """The samples as ``[h, w, n]``."""
        return self.samples if self.samples.ndim == 3 else self.samples[..., None]


def alpha_of(stored: Stored) -> np.ndarray | None:
    """How opaque each pixel is, ``[h, w]`` fp32 in [0, 1]; None where the file says nothing of it."""
    if stored.mode in ALPHA_LAST:
        return stored.samples[..., -1].astype(np.float32) / stored.full
    if stored.key is not None:
        return 1 - _has_key(stored.planes, stored.key).astype(np.float32)
    if stored.has_alpha:
        return (stored.palette[:, 3].astype(np.float32) / 255)[stored.samples]
    return None


def rgb_of(stored: Stored) -> np.ndarray:
    """The colours, hidden ones included, ``[h, w, 3]`` fp32 in [0, 1]."""
    planes, mode = stored.planes, stored.mode
    if mode in PALETTES:
        return (stored.palette[:, :3].astype(np.float32) / 255)[planes[..., 0]]
    if mode in CONVERTED:
        return _converted(_eight_bits(planes[..., : len(Image.new(mode, (1, 1)).getbands())]), mode, stored.profile)
    colours = planes[..., : 1 if mode in GREY else 3].astype(np.float32) / stored.full
    if mode in PREMULTIPLIED:
        colours = np.minimum(colours / np.maximum(planes[..., -1:] / np.float32(stored.full), 1e-9), 1)
    return np.broadcast_to(colours, (*colours.shape[:2], 3))


def lay_in(stored: Stored, rgb: np.ndarray, changed: np.ndarray) -> Stored:
    """The picture with new colours where it changed and its own samples, alpha too, everywhere else.

    rgb: ``[h, w, 3]`` in [0, 1].  changed: bool, ``[h, w]``.
    """
    if not changed.any():
        return stored
    if stored.mode in PALETTES:
        return _lay_into_palette(stored, rgb[changed], changed)
    planes = stored.planes.copy()
    planes[changed] = _samples(stored, rgb[changed], planes[changed])
    return replace(stored, samples=planes.reshape(stored.samples.shape))


def _samples(stored: Stored, rgb: np.ndarray, old: np.ndarray) -> np.ndarray:
    """New samples ``[n, c]`` for colours ``[n, 3]``, over the old ones, whose alpha and extra samples stay."""
    new, mode = old.copy(), stored.mode
    if mode in CONVERTED:
        colours = _unconverted(rgb, mode, stored.profile).astype(old.dtype) * (stored.full // 255)
    else:
        share = old[:, -1:] / stored.full if mode in PREMULTIPLIED else 1
        colours = (rgb @ LUMA)[:, None] if mode in GREY else rgb
        colours = (colours * share * stored.full).round().astype(old.dtype)
    new[:, : colours.shape[1]] = colours
    return new if stored.key is None else _beside_key(new, old, stored.key)


def _has_key(planes: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
    return (planes == np.array(key)).all(-1)


def _beside_key(new: np.ndarray, old: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
    """No new pixel may take on the transparent colour by chance, and a transparent one stays so."""
    hit = _has_key(new, key)
    new[hit, 0] = abs(key[0] - 1)
    new[_has_key(old, key)] = key
    return new


def _lay_into_palette(stored: Stored, rgb: np.ndarray, changed: np.ndarray) -> Stored:
    planes = stored.planes.copy()
    kept = np.unique(planes[..., 0][~changed])
    indices, palette, listed = lay_into_palette(rgb, planes[changed][:, 0], kept, stored.palette, stored.listed)
    planes[changed, 0] = indices
    return replace(stored, samples=planes.reshape(stored.samples.shape), palette=palette, listed=listed)


def _eight_bits(samples: np.ndarray) -> np.ndarray:
    return samples if samples.dtype == np.uint8 else (samples / 257).round().astype(np.uint8)


def _converted(samples: np.ndarray, mode: str, profile: bytes | None) -> np.ndarray:
    picture = Image.frombytes(mode, (samples.shape[1], samples.shape[0]), np.ascontiguousarray(samples).tobytes())
    there = _transform(mode, "RGB", profile)
    rgb = picture.convert("RGB") if there is None else ImageCms.applyTransform(picture, there)
    return np.asarray(rgb, dtype=np.float32) / 255


def _unconverted(rgb: np.ndarray, mode: str, profile: bytes | None) -> np.ndarray:
    picture = Image.fromarray((rgb[None] * 255).round().astype(np.uint8))
    back = _transform("RGB", mode, profile)
    converted = picture.convert(mode) if back is None else ImageCms.applyTransform(picture, back)
    return np.asarray(converted)[0]


@lru_cache(maxsize=8)
def _transform(source: str, target: str, profile: bytes | None) -> ImageCms.ImageCmsTransform | None:
    """From or to sRGB by the file's own profile; None where Pillow's plain conversion has to do."""
    if "YCbCr" in (source, target):
        return None
    if "LAB" in (source, target):
        own = ImageCms.createProfile("LAB")
    elif profile is None:
        return None
    else:
        try:
            own = ImageCms.ImageCmsProfile(BytesIO(profile))
        except OSError:  # a damaged one
            return None
    srgb = ImageCms.createProfile("sRGB")
    ends = (own, srgb) if target == "RGB" else (srgb, own)
    try:
        return ImageCms.buildTransform(*ends, source, target, ImageCms.Intent.RELATIVE_COLORIMETRIC)
    except ImageCms.PyCMSError:  # a profile for other colours than the file's own
        return None
