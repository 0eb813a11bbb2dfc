"""The two packages for pictures that Pillow cuts down (16-bit colour); asked for only by files that need them."""

import logging
from types import ModuleType


def codecs() -> ModuleType:
    """imagecodecs.  Raises ModuleNotFoundError saying what to install."""
    try:
        import imagecodecs
    except ModuleNotFoundError as error:
        raise _missing("imagecodecs") from error
    return imagecodecs


def tiff_library() -> ModuleType:
    """tifffile.  Raises ModuleNotFoundError saying what to install."""
    try:
        import tifffile
    except ModuleNotFoundError as error:
        raise _missing("tifffile") from error
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else it prints what we say in a sentence
    return tifffile


def _missing(name: str) -> ModuleNotFoundError:
    sentence = f"a picture of 16-bit colour needs the package {name}: pip install imagecodecs tifffile."
    return ModuleNotFoundError(sentence, name=name)
