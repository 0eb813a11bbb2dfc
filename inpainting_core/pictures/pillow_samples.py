"""Pillow's pictures as stored samples and back."""

import numpy as np
from PIL import Image

from inpainting_core.pictures.endings import Unfit
from inpainting_core.pictures.palettes import OPAQUE, SLOTS
from inpainting_core.pictures.stored_samples import Stored


def from_pillow(file: Image.Image, name: str, bits: int = 8) -> Stored:
    """A decoded file's samples; ``bits``: how many its own samples have where Pillow spreads fewer over 8.

    Raises ValueError, which names the file, for 32-bit grey beyond 16 bits.
    """
    mode, samples, clear = file.mode, np.asarray(file), file.info.get("transparency")
    if mode == "I" and (samples.min() < 0 or samples.max() > 65535):
        raise Unfit(f"{name} must hold grey values from 0 to 65535, got {samples.min()} to {samples.max()}.")
    if mode in ("P", "PA"):
        return _with_palette(file, samples, clear)
    if clear is None or mode not in ("1", "L", "I;16", "RGB"):
        key = None
    elif mode == "RGB":
        key = tuple(clear)
    else:
        key = ({"1": int(clear > 0), "L": clear * 255 // (2**bits - 1)}.get(mode, clear),)
    if mode.startswith("I"):  # in this machine's byte order
        mode, samples = "L", samples.astype(np.int32 if mode == "I" else np.uint16)
    return Stored(mode, samples, key=key)


def _with_palette(file: Image.Image, samples: np.ndarray, clear: bytes | int | None) -> Stored:
    """``clear``: how opaque the first colours are, or which one is transparent."""
    listed = np.array(file.getpalette("RGBA"), np.uint8).reshape(-1, 4)[:SLOTS]
    palette = np.zeros((SLOTS, 4), np.uint8)
    palette[:, 3] = OPAQUE
    palette[: len(listed)] = listed
    if isinstance(clear, bytes):
        palette[: len(clear), 3] = np.frombuffer(clear[:SLOTS], np.uint8)
    elif clear is not None:
        palette[clear, 3] = 0
    return Stored(file.mode, samples, palette, len(listed))


def to_pillow(stored: Stored) -> Image.Image:
    """A picture with these samples; transparency by a key or a palette is an argument of its ``save``."""
    samples = np.ascontiguousarray(stored.samples)
    if stored.depth == 1:
        return Image.fromarray(samples)
    mode = {8: stored.mode, 16: "I;16", 32: "I"}[stored.depth]
    picture = Image.frombytes(mode, (samples.shape[1], samples.shape[0]), samples.tobytes())
    if stored.palette is not None:
        picture.putpalette(stored.palette[: stored.listed, :3].tobytes())
    return picture
