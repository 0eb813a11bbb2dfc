"""Heat maps over a picture and strips of pictures, with a line of text above each cell."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import interpolate

from evaluation.watching import Look
from inpainting_core.masks import dilate
from inpainting_core.shapes import Float

HEAD, GAP, LEAST_WIDTH = 16, 4, 192
BRIGHTEST = 4.0  # times the attention that each token would get if all got the same


@dataclass(frozen=True, eq=False)
class Cell:
    """A picture ``[1, 3, h, w]`` and what stands above it."""

    says: str
    picture: Tensor


def heat_map(
    picture: Float[Tensor, "1 3 h w"], hole: Float[Tensor, "1 1 h w"], weights: Float[Tensor, "rows columns"]
) -> Float[Tensor, "1 3 h w"]:
    """Where the hole looks, over its picture in grey: red from nothing up, yellow where most, white around the hole.

    The colours are those of a share of even attention, so maps of all grids, steps and modes can be held together.
    """
    size = picture.shape[-2:]
    heat = interpolate(weights[None, None] * weights.numel() / BRIGHTEST, size, mode="nearest").clamp(0, 1)
    colour = torch.cat([torch.ones_like(heat), (2 * heat - 1).clamp(0, 1), torch.zeros_like(heat)], 1)
    strength = 0.9 * heat
    grey = picture.mean(1, keepdim=True) * 0.7
    rim = dilate(hole, 1) - hole
    return ((1 - strength) * grey + strength * colour).where(rim == 0, 1.0)


def mean_weights(looks: list[Look], step: int, grid: tuple[int, int]) -> tuple[Tensor, float]:
    """Of all layers on one grid at one step: the mean weights, and the mean share that the hole pays itself."""
    found = [look for look in looks if look.step == step and look.weights.shape == grid]
    return torch.stack([look.weights for look in found]).mean(0), float(np.mean([look.at_itself for look in found]))


def sheet(rows: list[list[Cell]]) -> Image.Image:
    """Rows of cells of one size; small pictures are enlarged by whole times."""
    height, width = rows[0][0].picture.shape[-2:]
    times = max(1, -(-LEAST_WIDTH // width))
    height, width = height * times, width * times
    across, down = width + GAP, height + HEAD + GAP
    drawn = Image.new("RGB", (across * max(map(len, rows)) - GAP, down * len(rows) - GAP), "white")
    draw = ImageDraw.Draw(drawn)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            pixels = (cell.picture[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
            draw.text((across * x, down * y + 2), cell.says, fill="black")
            drawn.paste(Image.fromarray(pixels).resize((width, height), Image.NEAREST), (across * x, down * y + HEAD))
    return drawn
