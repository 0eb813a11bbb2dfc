"""What a detector finds in a part of a picture: it looks at the part from near by, not at the whole picture alone.

A detector sees a picture at one size, the built-in one at 192 px.  What a box or a hole holds is then a few pixels,
though the picture has it sharp; a view around it shows it as large as the detector knows things.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from inpainting_core.masks import Box, components
from inpainting_core.shapes import Float
from yoeo_core.detector import Detections
from yoeo_core.entities import Entities, sure_entities
from yoeo_core.snapping import bounds, parts_of

AROUND = 1.25  # sides of a view, of the box's longer one: a thing is told by what it ends against
DOT_PX = 8  # of a box's longer side: of less it is a dot, and its view a blur

View = tuple[slice, slice]  # rows and columns of a picture
Look = Callable[[Float[Tensor, "1 3 rows columns"]], Detections]  # a detector, at one picture or a part of one


def entities_near(rough: Float[Tensor, "1 1 h w"], picture: Float[Tensor, "1 3 h w"], look: Look) -> Entities:
    """The entities that ``look`` finds in a view around each box and closed line of a mask, at the picture's size.

    ``picture`` is RGB in [0, 1].  A stroke or a dot says nothing of where its thing ends, and has no view of its own;
    nor has a box whose view would be the whole picture.
    """
    labels = components(rough)
    boxes = [box for box, part in parts_of(labels) if bounds(part)]
    views = [view_around(box, labels.shape, AROUND) for box in boxes if longer_side(box) >= DOT_PX]
    near = [picture[..., rows, columns] for rows, columns in views]
    found = [
        placed(sure_entities(look(each), 0, each.shape[-2:]), view, labels.shape)
        for view, each in zip(views, near, strict=True)
        if each.shape != picture.shape
    ]
    return together(*found) if found else Entities(torch.zeros(0, *labels.shape, dtype=torch.bool), torch.zeros(0))


def longer_side(box: Box) -> int:
    """Of a box, in pixels."""
    return max(box[2] - box[0], box[3] - box[1])


def view_around(box: Box, size: tuple[int, int], around: float, least: int = 1) -> View:
    """A square view around a box of a picture of this size (h, w), as far as the picture is large enough.

    Its side is ``around`` times the box's longer one, and ``least`` pixels or more.
    """
    top, left, bottom, right = box
    side = max(least, round(around * longer_side(box)))
    spans = []
    for first, last, whole in ((top, bottom, size[0]), (left, right, size[1])):
        start = max(0, min((first + last - side) // 2, whole - side))
        spans.append(slice(start, min(whole, start + side)))
    return spans[0], spans[1]


def placed(found: Entities, view: View, size: tuple[int, int]) -> Entities:
    """The entities of a view in a picture of this size (h, w)."""
    masks = torch.zeros(len(found), *size, dtype=torch.bool)
    masks[:, view[0], view[1]] = found.masks.cpu()
    return Entities(masks, found.scores.cpu())


def together(*several: Entities) -> Entities:
    """Entities of one picture that were found in several views of it, the surest first."""
    masks, scores = (torch.cat([getattr(one, name).cpu() for one in several]) for name in ("masks", "scores"))
    order = scores.argsort(descending=True, stable=True)
    return Entities(masks[order], scores[order])
