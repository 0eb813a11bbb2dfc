"""A picture and a mask as ComfyUI hands them to a node."""

import torch


def picture(frames: int = 1, height: int = 90, width: int = 140) -> torch.Tensor:
    return torch.rand(frames, height, width, 3, generator=torch.Generator().manual_seed(7))


def mask(frames: int = 1, height: int = 90, width: int = 140, left: int = 50) -> torch.Tensor:
    hole = torch.zeros(frames, height, width)
    hole[:, 30:60, left : left + 30] = 1
    return hole
