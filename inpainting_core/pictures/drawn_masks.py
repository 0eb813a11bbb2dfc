"""What a mask file means: how much each pixel is to be erased, whichever way it was drawn.

1. A transparency that varies is the mask, if all that it shows has one colour.  (White, black, red: the shape counts.)
2. Else, one colour on black is the mask: grey by its brightness, which may be soft, any other colour by its brightness
   relative to its brightest.  What is transparent counts as black.
3. Brightness too small to be meant as such is a number: 0 and 1, as labelling tools save them, or 0 and 257 of 65535.

What could mean several things is refused, never guessed at: several colours, several numbers, flat areas of dark grey
beside brighter ones, a photograph.
"""

from functools import reduce

import numpy as np
from scipy import ndimage

from inpainting_core.pictures.stored_samples import GREY, Stored, alpha_of, rgb_of

NOISE = 1 / 16  # of the brightest: JPEG's around an edge. Of full scale: the highest number that is no brightness
OFF = 1 / 4  # of the brightest: how far a pixel may be from the one colour; blurred colour edges in a JPEG are
FEW = 1 / 20  # of what is drawn: as many pixels may differ
MIDDLE = (1 / 8, 7 / 8)  # of the brightest: neither background nor drawn
TOO_MANY = 0.4  # of the picture: a soft brush leaves fewer pixels between, a photograph more
RULE = "must be white (or one colour) on black where to erase, or have its shape in the transparency"


def mask_of(stored: Stored, name: str, lossy: bool) -> np.ndarray:
    """1 where to erase, 0 elsewhere, between where the drawing is soft: ``[h, w]`` fp32.

    ``lossy``: the file is a JPEG or the like, whose black is not quite black.
    Raises ValueError, which names the file and what was found, where that cannot be told.
    """
    colours, alpha = rgb_of(stored)[..., : 1 if stored.mode in GREY else 3], alpha_of(stored)
    if alpha is not None and float(np.ptp(alpha)) > NOISE:
        shown = colours[alpha >= alpha.max() / 2]
        if float(np.ptp(shown, axis=0).max()) <= NOISE:
            return alpha
        if not _is_drawn(shown):
            raise ValueError(f"{name} {RULE}; it is a picture cut out by its transparency: save the shape alone.")
        colours = colours * alpha[..., None]
    elif alpha is not None and alpha.max() < NOISE:
        if float(np.ptp(colours, axis=(0, 1)).max()) > NOISE:
            raise ValueError(f"{name} {RULE}; it is transparent all over, with colours hidden below.")
        return np.zeros_like(alpha)
    value = _brightest(colours)
    full = 255 if stored.full == 65535 and value.max() * 65535 < 255.5 else stored.full  # 8-bit values in 16 bits
    value = (value * np.float32(stored.full / full)).clip(0, 1)
    if not value.any():
        return value
    if full > 1 and value.max() <= NOISE:
        return np.zeros_like(value) if lossy else _numbers((value * full).round(), name)
    return _drawn(colours, value, name)


def _is_drawn(shown: np.ndarray) -> bool:
    """Whether visible pixels ``[n, c]`` are a drawing's: grey, or mostly black or bright, however soft the edges."""
    bright = shown.max(1)
    grey = float((bright - shown.min(1)).max()) <= NOISE
    return grey or bool(_between(bright, bright.max()).mean() <= TOO_MANY)


def _between(value: np.ndarray, peak: np.float32) -> np.ndarray:
    """Which values are neither background nor drawn."""
    return (value > MIDDLE[0] * peak) & (value < MIDDLE[1] * peak)


def _numbers(values: np.ndarray, name: str) -> np.ndarray:
    found = np.unique(values[values > 0]).astype(int)
    if len(found) > 1:
        raise ValueError(f"{name} {RULE}; it holds the numbers {_listed(found)}, and which to erase is not said.")
    return (values > 0).astype(np.float32)


def _drawn(colours: np.ndarray, value: np.ndarray, name: str) -> np.ndarray:
    """A drawing in one colour: its brightness ``value`` as it is where that is grey, else relative to the brightest."""
    peak = value.max()
    hue = colours[value >= 0.9 * peak].mean(0)
    hue = hue / hue.max()
    bright = _brightest(colours)
    apart = reduce(np.maximum, [abs(channel - bright * hue[i]) for i, channel in enumerate(_channels(colours))])
    off = (apart > OFF * bright.max()).sum()
    if off > FEW * (value > NOISE * peak).sum():
        raise ValueError(f"{name} {RULE}; it holds {_colours(colours)}.")
    if _between(value, peak).mean() > TOO_MANY:
        raise ValueError(f"{name} {RULE}; it holds shades all over, as a photograph does.")
    if hue.min() < 1 - OFF:
        return value / peak
    dark = (value > NOISE) & (value < 0.5) & (ndimage.maximum_filter(value, 3) == ndimage.minimum_filter(value, 3))
    if peak >= 0.5 and dark.sum() > FEW * (value > NOISE).sum():
        levels = np.unique((value[dark] * 255).round()).astype(int)
        raise ValueError(
            f"{name} {RULE}; it holds flat grey ({_listed(levels)} of 255) beside brighter parts: "
            f"make it white if it is to be erased, else black."
        )
    return value


def _channels(colours: np.ndarray) -> list[np.ndarray]:
    return [colours[..., place] for place in range(colours.shape[-1])]


def _brightest(colours: np.ndarray) -> np.ndarray:
    """The largest of each pixel's channels; one after another, which is far faster than along the last axis."""
    return reduce(np.maximum, _channels(colours))


def _colours(colours: np.ndarray) -> str:
    """The colours that a drawing is made of, or that they are too many."""
    distinct, counts = np.unique((colours.reshape(-1, 3) * 255).round().astype(np.uint8), axis=0, return_counts=True)
    if len(distinct) > 64 and np.sort(counts)[-8:].sum() < 0.9 * counts.sum():
        return "a picture of many colours"
    common = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in distinct[np.argsort(-counts)] if max(r, g, b) > 255 * NOISE]
    return f"the colours {_listed(common)}"


def _listed(things: list | np.ndarray) -> str:
    """``a, b and c``; what is beyond five, counted."""
    shown = [str(thing) for thing in things[:5]] + ([f"{len(things) - 5} more"] if len(things) > 5 else [])
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
