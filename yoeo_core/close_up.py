"""What a detector finds where somebody drew a box: it looks at the box from near by, not at the whole picture alone.

A detector sees a picture at one size, the built-in one at 192 px.  What a box holds is then a few pixels, though the
picture has it sharp; a view around the box shows it as large as the detector knows things.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from inpainting_core.masks import box_around, components
from inpainting_core.shapes import Bool, Float
from yoeo_core.detector import Detections
from yoeo_core.entities import Entities, sure_entities
from yoeo_core.snapping import bounds

AROUND = 1.25  # sides of the view, of the box's longer one: a thing is told by what it ends against


def entities_near(
    rough: Float[Tensor, "1 1 h w"],
    picture: Float[Tensor, "1 3 h w"],
    look: Callable[[Float[Tensor, "1 3 rows columns"]], Detections],
) -> Entities:
    """The entities that ``look`` finds in a view around each box and closed line of a mask, at the picture's size.

    ``picture`` is RGB in [0, 1].  A stroke says nothing of where its thing ends, and has no view of its own; nor has a
    box whose view would be the whole picture.
    """
    labels = components(rough)
    parts = [labels == number for number in range(1, int(labels.max()) + 1)]
    views = [view_around(part) for part in parts if bounds(part)]
    near = [picture[..., rows, columns] for rows, columns in views]
    found = [
        placed(sure_entities(look(each), 0, each.shape[-2:]), view, labels.shape)
        for view, each in zip(views, near, strict=True)
        if each.shape != picture.shape
    ]
    return together(*found) if found else Entities(torch.zeros(0, *labels.shape, dtype=torch.bool), torch.zeros(0))


def view_around(part: Bool[Tensor, "h w"]) -> tuple[slice, slice]:
    """Rows and columns of a view around a painted part: a square, as far as the picture is large enough."""
    top, left, bottom, right = box_around(part[None, None].float())
    side = round(AROUND * max(bottom - top, right - left))
    spans = []
    for first, last, whole in ((top, bottom, part.shape[0]), (left, right, part.shape[1])):
        start = max(0, min((first + last - side) // 2, whole - side))
        spans.append(slice(start, min(whole, start + side)))
    return spans[0], spans[1]


def placed(found: Entities, view: tuple[slice, slice], size: tuple[int, int]) -> Entities:
    """The entities of a view in a picture of this size (h, w)."""
    masks = torch.zeros(len(found), *size, dtype=torch.bool)
    masks[:, view[0], view[1]] = found.masks.cpu()
    return Entities(masks, found.scores.cpu())


def together(*several: Entities) -> Entities:
    """Entities of one picture that were found in several views of it, the surest first."""
    masks, scores = (torch.cat([getattr(one, name).cpu() for one in several]) for name in ("masks", "scores"))
    order = scores.argsort(descending=True, stable=True)
    return Entities(masks[order], scores[order])
