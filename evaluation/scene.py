"""The files of one case as tensors, all of the picture's size."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from evaluation.folders import Case
from inpainting_core.masks import Box, as_mask, bounding_boxes
from inpainting_core.picture_files import read_mask, read_picture, visible_rgb
from inpainting_core.shapes import Float


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture, its mask and one result; RGB in [0, 1], ``[1, 3, h, w]``; masks 0 or 1, ``[1, 1, h, w]``.

    ``truth`` is the picture without the object, ``effect`` where its shadow and reflection lie.  ``stretched`` tells
    that the result came in another size and was brought to the picture's; ``annotated`` is the object's box as its set
    has it.
    """

    picture: Tensor
    mask: Tensor
    truth: Tensor | None
    effect: Tensor | None
    result: Tensor
    stretched: bool = False
    annotated: Box | None = None

    @cached_property
    def hole(self) -> Float[Tensor, "1 1 h w"]:
        """Where a result may differ from its picture: the mask, and the effect where there is one."""
        return self.mask if self.effect is None else torch.maximum(self.mask, self.effect)

    @cached_property
    def box(self) -> Box:
        """The mask's box."""
        return bounding_boxes(self.mask[0, 0].int().cpu())[0]


@dataclass(frozen=True, eq=False)
class Given:
    """What all methods share of a case; ``scene`` adds one result."""

    picture: Tensor
    mask: Tensor
    truth: Tensor | None
    effect: Tensor | None
    box: tuple[float, ...] | None = None

    @classmethod
    def read(cls, case: Case) -> "Given":
        """Raises ValueError or OSError, naming the file, for what cannot be read or does not fit together."""
        picture = visible_rgb(read_picture(case.picture))
        size = picture.shape[-2:]
        mask = mask_of_size(case.mask, size)
        if not 0 < mask.mean() < 1:
            raise ValueError(f"{case.mask.name} must hold a hole and leave surroundings.")
        truth = case.truth and visible_rgb(read_picture(case.truth))
        if truth is not None and truth.shape[-2:] != size:
            raise ValueError(f"{case.truth.name} must be of its picture's size {tuple(size)}, got {truth.shape[-2:]}.")
        return cls(picture, mask, truth, case.effect and mask_of_size(case.effect, size), case.box)

    def scene(self, path: Path) -> Scene:
        """The case with the result in a file; one of another size is brought to the picture's (bicubic)."""
        return self.scene_of(visible_rgb(read_picture(path)))

    def scene_of(self, result: Tensor) -> Scene:
        stretched = result.shape[-2:] != self.picture.shape[-2:]
        if stretched:
            result = interpolate(result, self.picture.shape[-2:], mode="bicubic", antialias=True).clamp(0, 1)
        annotated = self.box and in_pixels(self.box, self.picture.shape[-2:])
        return Scene(self.picture, self.mask, self.truth, self.effect, result, stretched, annotated)


def in_pixels(shares: tuple[float, ...], size: tuple[int, int]) -> Box:
    """A box in shares of the picture (left, top, right, bottom), cut down to whole pixels, at least one."""
    (left, right), (top, bottom) = (
        (max(0, min(int(start * length), length - 1)), min(length, int(end * length)))
        for start, end, length in ((shares[0], shares[2], size[1]), (shares[1], shares[3], size[0]))
    )
    return top, left, max(bottom, top + 1), max(right, left + 1)


def mask_of_size(path: Path, size: torch.Size) -> Float[Tensor, "1 1 h w"]:
    try:
        return as_mask(read_mask(path), *size)
    except ValueError as err:
        raise ValueError(str(err) if path.name in str(err) else f"{path.name}: {err}") from err
