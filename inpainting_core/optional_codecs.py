"""The two packages for 16-bit colour, which Pillow reads as 8 bits; asked for only by files that need them."""

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
    return tifffile


def _missing(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"16-bit colour needs {name}: pip install imagecodecs tifffile.", name=name)
