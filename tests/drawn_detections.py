"""What a detector could have found: hand-drawn masks around a hole, for tests of the losses that judge by it."""

import torch
from torch import Tensor

from yoeo_core.detector import Detections

GRID, SIZE = (8, 12), (32, 48)  # of the masks and of the picture
CROSSING, BEYOND, LOWER = (0, 4, 0, 7), (6, 8, 0, 3), (4, 8, 8, 12)  # rows from, to; columns from, to
SUNDRY, DOUBTFUL = (3, 5, 5, 8), (2, 4, 8, 10)


def drawn_hole(aligned: bool = True, dtype: torch.dtype = torch.float64) -> Tensor:
    """Rows 2 to 5 and columns 4 to 9 of the grid; not ``aligned``: a hole that cuts through the cells."""
    hole = torch.zeros(2, 1, *SIZE, dtype=dtype)
    if aligned:
        hole[..., 8:24, 16:40] = 1
    else:
        hole[0, :, 7:22, 15:41] = 1
        hole[1, :, 9:25, 18:40] = 1
    return hole


def drawn_detections(boxes: list[tuple], sure: list[bool], seed: int = 0, classes: int = 1) -> Detections:
    """Two samples of the same boxes with noise upon them: fp64 leaves that take a gradient, features at random."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    masks = torch.full((2, len(boxes), *GRID), -8.0, dtype=torch.float64)
    for i, (top, bottom, left, right) in enumerate(boxes):
        masks[:, i, top:bottom, left:right] = 4
    logits = torch.zeros(2, len(boxes), classes + 1, dtype=torch.float64)
    logits[..., 0] = torch.tensor([2.0 if s else -4.0 for s in sure])
    found = (logits + 0.1 * noise(*logits.shape), masks + 0.3 * noise(*masks.shape), noise(2, 6, *GRID))
    return Detections(*(value.requires_grad_() for value in found))


def scene(seed: int = 0, classes: int = 1) -> Detections:
    """One sundry, one doubtful query, and entities across the hole's edge, beyond it, and under the sundry."""
    boxes = [SUNDRY, CROSSING, BEYOND, DOUBTFUL, LOWER]
    return drawn_detections(boxes, [True, True, True, False, True], seed, classes)


def without_sundries(seed: int = 1) -> Detections:
    return drawn_detections([DOUBTFUL, CROSSING, BEYOND], [False, True, True], seed)
