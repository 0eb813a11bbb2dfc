"""The picture formats that are read and written: what each can hold, and how its pictures are encoded."""

import numpy as np
from PIL import features

from inpainting_core.pictures.codecs import codecs, tiff_library
from inpainting_core.pictures.endings import FORMATS, Unfit
from inpainting_core.pictures.stored_samples import CONVERTED, GREY, Stored, alpha_of, rgb_of

READ = tuple(dict.fromkeys(FORMATS.values()))
MODES = {  # what a format holds as it is; anything else is written there as grey, RGB or RGBA
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "GIF": ("1", "L", "P"),
    "AVIF": ("RGB", "RGBA"),
}
LONGEST = {"JPEG": 65500, "WEBP": 16383, "GIF": 65535, "AVIF": 65536}  # px a side
DEEP = ("PNG", "TIFF")


def check_holds(name: str, format: str, stored: Stored, own: bool) -> None:
    """Raise ValueError where a file of this format would lose what the picture has; ``own``: it is the original's."""
    if stored.is_deep:
        {"PNG": codecs, "TIFF": tiff_library}.get(format, str)()
    height, width = stored.samples.shape[:2]
    better = "give the result an ending of .png or .tif" if stored.depth > 8 else "give the result the ending .png"
    if format == "AVIF" and not features.check("avif"):
        raise Unfit(f"{name} cannot be written: this Pillow was built without AVIF; {better}.")
    if format not in DEEP and stored.depth > 8:
        raise Unfit(f"{name} cannot hold the picture's {stored.depth} bits a sample, {format} has 8: {better}.")
    if format == "JPEG" and stored.has_alpha:
        raise Unfit(f"{name} cannot hold the picture's transparency, for JPEG has none: {better}.")
    if format == "GIF" and not own:
        raise Unfit(f"{name} cannot hold more than 256 colours, for it is a GIF: {better}.")
    if max(height, width) > LONGEST.get(format, max(height, width)):
        raise Unfit(
            f"{name} cannot hold {width} x {height} pixels, {format} ends at {LONGEST[format]} a side: {better}."
        )


def fitted(stored: Stored, format: str) -> Stored:
    """The picture in a mode that the format holds: its own, else grey, RGB or RGBA in the same depth."""
    as_it_is = format == "TIFF" or stored.mode in MODES[format]
    lost = (stored.key is not None and format != "PNG") or (stored.clear_colours and format not in ("PNG", "GIF"))
    if as_it_is and not lost:
        return stored
    rgb, alpha = rgb_of(stored), alpha_of(stored)
    mode = ("L" if stored.mode in GREY else "RGB") + ("" if alpha is None else "A")
    if mode not in MODES.get(format, (mode,)):
        mode = mode.replace("L", "RGB")
    colours = rgb if mode.startswith("RGB") else rgb[..., :1]
    planes = colours if alpha is None else np.concatenate([colours, alpha[..., None]], -1)
    kind = np.uint8 if stored.depth <= 8 else np.uint16
    samples = (planes * np.iinfo(kind).max).round().astype(kind)
    profile = stored.profile  # of grey or of inks, it says nothing of RGB
    if stored.mode in CONVERTED or (profile and profile[16:20] != {"L": b"GRAY", "R": b"RGB "}[mode[0]]):
        profile = None
    return Stored(mode, samples[..., 0] if samples.shape[-1] == 1 else samples, profile=profile)
