"""The picture files that are read and written, by their endings.  Standard library only: ``./demo`` asks before
anything is installed."""

from pathlib import Path

FORMATS = {  # Pillow's names
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".avif": "AVIF",
}


class Unfit(ValueError):
    """A file that is none of ours to read or write; the message names it and says why."""


def format_of(path: Path) -> str:
    """The format that a file's ending asks for.  Raises ValueError for any other ending."""
    if path.suffix.lower() not in FORMATS:
        raise Unfit(f"{path.name} must end in one of {', '.join(FORMATS)}, for that decides what is written.")
    return FORMATS[path.suffix.lower()]
