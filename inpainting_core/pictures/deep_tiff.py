"""TIFFs that Pillow would cut down: 16-bit colour, colours multiplied by their alpha, samples beside the colour."""

from io import BytesIO

import numpy as np
from PIL import Image

from inpainting_core.pictures.codecs import tiff_library
from inpainting_core.pictures.endings import Unfit
from inpainting_core.pictures.stored_samples import ALPHA_LAST, GREY, Stored
from inpainting_core.pictures.tiff_tags import Tags, numbers

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, EXTRA, KIND = 256, 257, 258, 259, 262, 277, 338, 339
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, SEPARATED = 0, 1, 2, 5
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, SEPARATED: 4}
UNSAID, MULTIPLIED, ALPHA = 0, 1, 2  # what a sample beside the colour is
MODES = {1: {None: "L", UNSAID: "LX", MULTIPLIED: "La", ALPHA: "LA"}, 4: {None: "CMYK"}}
MODES[3] = {None: "RGB", UNSAID: "RGBX", MULTIPLIED: "RGBa", ALPHA: "RGBA"}
FLOATING = 3
LOSSLESS = {1: None, 5: "lzw", 8: "zlib", 32946: "zlib", 50000: "zstd"}


def is_deep(tags: Tags) -> bool:
    """Whether a TIFF holds what Pillow does not hand out as it is."""
    bits, (photometric,) = numbers(tags, BITS, (1,)), numbers(tags, PHOTOMETRIC, (BLACK_IS_ZERO,))
    several = numbers(tags, SAMPLES, (1,))[0] > 1
    plain = max(bits) <= 8 and numbers(tags, EXTRA, ()) in ((), (ALPHA,))
    odd = FLOATING in numbers(tags, KIND, ()) or (photometric == WHITE_IS_ZERO and max(bits) > 8)
    return odd or (several and photometric in COLOURS and not plain)


def read_deep_tiff(data: bytes, tags: Tags, name: str) -> Stored:
    """The first page's samples.  Raises ValueError, which names the file, for numbers that are not of 8 or 16 bits."""
    width, height = numbers(tags, WIDTH, (0,))[0], numbers(tags, HEIGHT, (0,))[0]
    if width * height > 2 * Image.MAX_IMAGE_PIXELS:
        raise Unfit(f"{name} is too large a picture: {width} x {height} pixels.")
    page = tiff_library().TiffFile(BytesIO(data)).pages[0]
    samples = page.asarray()
    samples = np.moveaxis(samples, 0, -1) if page.axes == "SYX" else samples
    if samples.dtype not in (np.uint8, np.uint16):
        raise Unfit(f"{name} must hold whole numbers of 8 or 16 bits, got {samples.dtype}: save it with 16 bits.")
    colours, extra = COLOURS[int(page.photometric)], numbers(tags, EXTRA, ())
    if samples.shape[:2] != (height, width) or not samples.size or samples[0, 0].size < colours:
        raise Unfit(f"{name} must be a whole picture file, but its samples are not those of a picture.")
    beside = None if samples.ndim == 2 or samples.shape[-1] == colours else (*extra, UNSAID)[0]
    if samples.ndim == 3 and samples.shape[-1] > colours + 1:
        beside = UNSAID  # an alpha among others is kept, and not looked at
    if beside not in MODES[colours]:
        raise Unfit(f"{name} must hold CMYK alone or RGB, got CMYK with {samples.shape[-1] - colours} more samples.")
    if int(page.photometric) == WHITE_IS_ZERO:
        samples = np.iinfo(samples.dtype).max - samples
    return Stored(MODES[colours][beside], samples)


def deep_tiff(stored: Stored, compression: int) -> bytes:
    """The picture as a TIFF without further tags, compressed as said where that is lossless, else by deflate."""
    colours = 1 if stored.mode in GREY else 4 if stored.mode == "CMYK" else 3
    beside = stored.planes.shape[-1] - colours
    kind = MULTIPLIED if stored.mode in ("La", "RGBa") else ALPHA if stored.mode in ALPHA_LAST else UNSAID
    method, file = LOSSLESS.get(compression, "zlib"), BytesIO()
    tiff_library().imwrite(
        file,
        stored.samples,
        photometric={1: "minisblack", 3: "rgb", 4: "separated"}[colours],
        planarconfig="contig" if stored.samples.ndim == 3 else None,
        extrasamples=[kind] * beside or None,
        compression=method,
        predictor=True if method else None,
        metadata=None,
        software=False,
    )
    return file.getvalue()
