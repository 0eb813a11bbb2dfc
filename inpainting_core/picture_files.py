"""Picture and mask files, read and written: the one way in which this project opens what people bring.

A picture comes upright, in the numbers that its file holds.  Its result goes back into the same kind of file: format,
mode, depth, transparency, profile and metadata are the original's, and a lossless format holds the original's own
samples wherever nothing changed.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inpainting_core.membrane import spread
from inpainting_core.pictures.drawn_masks import mask_of
from inpainting_core.pictures.endings import format_of
from inpainting_core.pictures.formats import check_holds, fitted
from inpainting_core.pictures.reading import Content, read_content
from inpainting_core.pictures.stored_samples import Stored, alpha_of, lay_in, rgb_of
from inpainting_core.pictures.writing import check_says, encoded
from inpainting_core.shapes import Float


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture file's content.

    image: in [0, 1], ``[1, 3, h, w]`` RGB or ``[1, 4, h, w]`` with alpha last (straight, colours under it as stored),
    in the file's own RGB: its profile is carried, not applied.  ``content`` is what the writer needs.
    """

    image: Float[Tensor, "1 c h w"]
    content: Content


def read_picture(path: str | Path) -> Picture:
    """A PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF file, turned as its camera noted.

    Raises FileNotFoundError for a missing file and ValueError for one that cannot be read, is no picture or holds
    several; each names the file.
    """
    content = read_content(Path(path))
    return Picture(_image(content.stored), content)


def visible_rgb(picture: Picture) -> Float[Tensor, "1 3 h w"]:
    """A picture for what knows no transparency: under clear pixels the colours around them go on, not those hidden."""
    rgb, shown = picture.image[:, :3], (picture.image[:, 3:] > 0).float()
    return spread(rgb, shown) if picture.image.shape[1] == 4 else rgb


def read_mask(path: str | Path) -> Float[Tensor, "1 1 h w"]:
    """A mask file, upright: 1 where to erase, 0 elsewhere, between where it is soft.

    White on black, 0 and 1, 0 and 255, 16 bits, any one colour on black, or the shape in the transparency
    (``pictures.drawn_masks`` has the rules).
    Raises FileNotFoundError for a missing file, ValueError for one that cannot be read or whose meaning cannot be told;
    each names the file.
    """
    content = read_content(Path(path))
    return torch.from_numpy(mask_of(content.stored, Path(path).name, content.lossy))[None, None]


def check_target(path: str | Path, like: Picture) -> None:
    """Raise ValueError where ``write_picture`` could not write to ``path``, or would lose what ``like`` has.

    For before the work: another ending than a picture's, transparency or 16 bits that the format cannot hold.
    """
    path = Path(path)
    format = format_of(path)
    check_holds(path.name, format, like.content.stored, own=format == like.content.format)
    check_says(path.name, format, like.content.metadata)


def write_picture(
    path: str | Path, image: Float[Tensor, "1 c h w"], like: Picture, changed: Float[Tensor, "1 1 h w"]
) -> None:
    """Write a result as its original's kind of file: new RGB where ``changed`` > 0, the original's samples elsewhere.

    image: RGB in [0, 1], of ``like``'s size; a fourth channel is not looked at, because transparency stays as it was.
    The ending decides the format.  The file is moved into place when it is whole.
    Raises ValueError as ``check_target`` does.
    """
    check_target(path, like)
    content, format = like.content, format_of(Path(path))
    rgb = image[0, :3].permute(1, 2, 0).clamp(0, 1).float().cpu().numpy()
    stored = fitted(lay_in(content.stored, rgb, changed[0, 0].cpu().numpy() > 0), format)
    _move_into_place(Path(path), encoded(stored, format, content.metadata, content.compression))


def _image(stored: Stored) -> Float[Tensor, "1 c h w"]:
    rgb, alpha = rgb_of(stored), alpha_of(stored)
    planes = rgb if alpha is None else np.concatenate([rgb, alpha[..., None]], -1)
    return torch.from_numpy(planes.transpose(2, 0, 1).copy())[None]


def _move_into_place(path: Path, data: bytes) -> None:
    """Write beside the target first, so that a run that is killed leaves the old file or the new one."""
    unfinished = path.with_name(f"{path.name}.part")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
