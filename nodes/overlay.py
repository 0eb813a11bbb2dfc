"""A verdict drawn upon its picture: numbered entities, the sundries filled in red, and the result in a bar on top."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from inpainting_core.masks import bounding_boxes, distance_to_hole
from inpainting_core.shapes import Bool, Float
from yoeo_core.check import Verdict

Colour = tuple[int, int, int]
Plate = tuple[float, float, float, float]  # left, top, right, bottom in pixels

RED, GREEN, GREY, WHITE, BLACK = (230, 20, 40), (20, 130, 60), (110, 110, 110), (255, 255, 255), (0, 0, 0)
THIN: tuple[Colour, ...] = ((90, 200, 250), (255, 214, 10), (110, 230, 120), (255, 159, 60), (200, 150, 255))
DIMMED = 0.7  # of the picture's brightness, so that lines and letters stand out
FILLED = 0.45  # of red, over a sundry


def drawn(
    picture: Float[Tensor, "3 h w"], hole: Bool[Tensor, "h w"], verdict: Verdict, text: str
) -> Float[Tensor, "3 h w"]:
    """The picture, RGB in [0, 1], dimmed, with every edge in colour, the hole's in white, and the text in a bar.

    A label holds an entity's number, the sundries first, and its score.
    """
    width = max(1, round(min(picture.shape[-2:]) / 400))
    picture = picture.clamp(0, 1)
    canvas = picture * DIMMED
    for place, mask in enumerate(verdict.others.masks.cpu()):
        outline(canvas, mask, width, THIN[place % len(THIN)])
    outline(canvas, hole, width, WHITE)
    for mask in verdict.sundries.masks.cpu():
        canvas[:, mask] = torch.lerp(picture[:, mask], ink(RED), FILLED)  # which keeps its brightness
        outline(canvas, mask, 3 * width, RED)
    if not hole.any():
        return labelled(canvas, verdict, text, GREY)  # neither passed nor failed: there was nothing to check
    return labelled(canvas, verdict, text, GREEN if verdict.passed else RED)


def ink(colour: Colour) -> Float[Tensor, "3 1"]:
    return torch.tensor(colour)[:, None] / 255


def outline(canvas: Float[Tensor, "3 h w"], mask: Bool[Tensor, "h w"], width: int, colour: Colour) -> None:
    """Colour the pixels of a mask within ``width`` of its border, in place; the picture's own border is none."""
    for top, left, bottom, right in bounding_boxes(mask.int()):  # one box, or none of an empty mask
        rows, columns = slice(max(0, top - width), bottom + width), slice(max(0, left - width), right + width)
        part, side = mask[rows, columns], 2 * width + 1
        around = max_pool2d((~part)[None].float(), (side, 1), 1, (width, 0))
        around = max_pool2d(around, (1, side), 1, (0, width))[0] > 0
        canvas[:, rows, columns][:, part & around] = ink(colour)


def labelled(canvas: Float[Tensor, "3 h w"], verdict: Verdict, text: str, colour: Colour) -> Float[Tensor, "3 h w"]:
    """The picture with a label upon each entity, the sundries' larger and on white, and the verdict in a bar."""
    image = Image.fromarray((canvas.movedim(0, -1) * 255).round().byte().numpy())
    small = max(10, round(min(image.size) / 45))
    taken: list[Plate] = []
    for place, (mask, score) in enumerate(zip(verdict.sundries.masks, verdict.sundries.scores, strict=True)):
        said = f"{place + 1}  {score:.2f}"
        taken.append(label(image, mask.cpu(), said, round(1.6 * small), (RED, WHITE), taken))
    for place, (mask, score) in enumerate(zip(verdict.others.masks, verdict.others.scores, strict=True)):
        said, colours = f"{verdict.count + place + 1}  {score:.2f}", (THIN[place % len(THIN)], BLACK)
        taken.append(label(image, mask.cpu(), said, small, colours, taken))
    bar(image, text, round(1.4 * small), colour)
    return torch.from_numpy(np.array(image)).movedim(-1, 0).float() / 255


def label(
    image: Image.Image,
    mask: Bool[Tensor, "h w"],
    text: str,
    size: int,
    colours: tuple[Colour, Colour],
    taken: list[Plate],
) -> Plate:
    """Write a text on a plate where a mask is widest, or below the plates that are there; give back the plate.

    ``colours`` are the letters' and the plate's.
    """
    draw, font, margin = ImageDraw.Draw(image), ImageFont.load_default(size), round(size / 4)
    left, top, right, bottom = draw.textbbox((0, 0), text, font, anchor="mm")
    column, row = widest_at(mask)
    column = min(max(column, margin - left), image.width - right - margin)
    row = min(max(row, margin - top), image.height - bottom - margin)
    for other in sorted(taken, key=lambda plate: plate[1]):
        beside = column + left - margin > other[2] or column + right + margin < other[0]
        if not beside and other[1] - bottom - margin < row < other[3] - top + margin:
            row = other[3] - top + margin + 1
    plate = (column + left - margin, row + top - margin, column + right + margin, row + bottom + margin)
    draw.rounded_rectangle(plate, margin, fill=colours[1])
    draw.text((column, row), text, colours[0], font, anchor="mm")
    return plate


def widest_at(mask: Bool[Tensor, "h w"]) -> tuple[float, float]:
    """Column and row of the point of a mask that lies farthest from its border, to within a 200th of the picture."""
    step = max(1, min(mask.shape) // 200)
    coarse = pad(max_pool2d(mask[None].float(), step, ceil_mode=True), (1, 1, 1, 1))
    row, column = divmod(int(distance_to_hole(1 - coarse[None]).argmax()), coarse.shape[-1])
    return (column - 0.5) * step, (row - 0.5) * step


def bar(image: Image.Image, text: str, size: int, colour: Colour) -> None:
    """A text in a bar over the picture's whole width, in smaller letters where it would not fit."""
    draw = ImageDraw.Draw(image)
    needed = draw.textlength(text, ImageFont.load_default(size))
    size = max(1, min(size, int(size * (image.width - size) / needed)))
    draw.rectangle((0, 0, image.width, 2 * size), fill=colour)
    draw.text((size / 2, size), text, WHITE, ImageFont.load_default(size), anchor="lm")
