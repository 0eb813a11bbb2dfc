"""The hole of a call of the network: a pixel mask for its pictures, cut to the areas of its prompts."""

import torch
from torch import Tensor

from inpainting_core.masks import as_mask, check_mask
from inpainting_core.shapes import Float

from .areas import Area, cut_out


class Holes:
    """A pixel mask of any of ComfyUI's shapes, of which each call of the network gets what it works on."""

    def __init__(self, mask: Tensor) -> None:
        check_mask(mask)
        masks = mask.shape[:-2].numel() if len(mask) == 1 or mask.ndim < 4 else len(mask)  # of [b, n, h, w], b unions
        self.mask = as_mask(mask, *mask.shape[-2:], frames=masks)

    def of_call(
        self, size: tuple[int, int], areas: tuple[Area | None, ...], batch: int, cell: int = 8
    ) -> Float[Tensor, "b 1 h w"]:
        """The mask of each sample of a call: in pixels, or what of it a prompt's area holds, on the latent's grid.

        ``size`` is the whole latent's, whose numbers stand for ``cell`` pixels each way; ``areas`` are its prompts'.
        Raises ValueError for a mask of another aspect than the picture's, or for a number of them that fits no batch.
        """
        if self.mask.any():  # ComfyUI hands out a small black mask where none was drawn
            check_aspect(self.mask, *size, cell)
        pictures = batch // len(areas)
        own = for_pictures(self.mask, pictures)
        return torch.cat([cut_out(own, size, area).expand(pictures, -1, -1, -1) for area in areas])


def check_aspect(hole: Tensor, height: int, width: int, cell: int) -> None:
    """Raise ValueError unless a picture with this mask can have a latent of this size, ``cell`` pixels a number."""
    ratio = hole.shape[-2] / hole.shape[-1]
    if not height / (width + 1) <= ratio <= (height + 1) / width:
        size = f"{hole.shape[-1]} x {hole.shape[-2]}"
        raise ValueError(
            f"mask must have the picture's aspect ratio, about {cell * width} x {cell * height}, got {size}. "
            "Use the mask of this picture."
        )


def for_pictures(hole: Tensor, pictures: int) -> Tensor:
    """One mask for all pictures, or one each; several masks of a single picture count as one."""
    if pictures == 1:
        hole = hole.amax(0, keepdim=True)
    if len(hole) not in (1, pictures):
        raise ValueError(
            f"mask must come once or once per picture ({pictures}), got {len(hole)} masks. Give one, or one "
            "per picture."
        )
    return hole
