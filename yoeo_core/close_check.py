"""The check of a hole from near by: what a whole picture shows too small is found in a view around it.

A detector that sees all of a picture's pixels at once looks once: no view would show it more.

The rule is that of YOEO's loss in each view, with the hole that lies in it.  A sundry is in the hole where the whole
picture or a view says so.  The metrics, which are published, look at whole pictures alone.
"""

import torch
from torch import Tensor

from inpainting_core.masks import Box, bounding_boxes, components
from inpainting_core.shapes import Bool, Float
from yoeo_core.check import IOS, Verdict, check
from yoeo_core.close_up import AROUND, Look, View, longer_side, placed, together, view_around
from yoeo_core.detector import Detections
from yoeo_core.entities import SURE, Entities, entities_of
from yoeo_core.suppression import sundries

LEAST_PX = 64  # of a view: a speck fills none
MOST_VIEWS = 8
SEEN = 4  # px that a detector sees to a mask's one
KNOWN = 0.5  # of an entity: so much of it lies in what was found before, and it is no other thing


@torch.no_grad()
def check_closely(
    picture: Float[Tensor, "1 3 h w"],
    hole: Float[Tensor, "1 1 h w"],
    whole: Detections,
    look: Look,
    *,
    ios: float = IOS,
    score: float = SURE,
    around: float = AROUND,
) -> Verdict:
    """The verdict on one picture, RGB in [0, 1], by what a detector found in all of it and finds around its hole.

    ``whole`` is what ``look`` finds in the picture; ``hole`` is 1 where erased.  ``ios`` and ``score`` are those of
    ``check``, and so is the verdict where no view is nearer than the picture.  A thing that several views show counts
    once.  The result lies on the CPU.
    """
    far = check(whole, hole.to(whole.mask_logits), ios=ios, score=score)[0]
    found, known = together(far.sundries), far.sundry_mask.cpu()
    for view in views_of(hole, around) if _is_shrunk(picture, whole) else ():
        near = placed(_sundries_in(look(picture[(..., *view)]), hole[(..., *view)], ios, score), view, known.shape)
        found = together(found, _new(near, known))
        known = found.masks.any(0)
    others = together(far.others)
    unknown = torch.tensor([not _is_known(mask, known) for mask in others.masks], dtype=torch.bool)
    inside = hole[0, 0].cpu() > 0
    covered = (known & inside).sum() / inside.sum().clamp_min(1)
    return Verdict(found, Entities(others.masks[unknown], others.scores[unknown]), covered.item())


def views_of(hole: Float[Tensor, "1 1 h w"], around: float = AROUND) -> list[View]:
    """Views that hold every part of a hole, each around the largest part that none before it holds.

    There are at most ``MOST_VIEWS``: a hole in many parts is looked at in wider ones.  A view of all of the picture is
    none.
    """
    size, least = tuple(hole.shape[-2:]), LEAST_PX
    boxes = sorted(bounding_boxes(components(hole)), key=longer_side, reverse=True)
    while len(views := _views_around(boxes, size, around, least)) > MOST_VIEWS:
        least *= 2
    return [view for view in views if hole[(..., *view)].shape != hole.shape]


def _views_around(boxes: list[Box], size: tuple[int, int], around: float, least: int) -> list[View]:
    """Views around boxes, each around the first that none before it holds, until they are too many."""
    views = []
    while boxes and len(views) <= MOST_VIEWS:
        views.append(view_around(boxes[0], size, around, least))
        boxes = [box for box in boxes[1:] if not _holds(views[-1], box)]
    return views


def _holds(view: View, box: Box) -> bool:
    rows, columns = view
    return rows.start <= box[0] and box[2] <= rows.stop and columns.start <= box[1] and box[3] <= columns.stop


def _is_shrunk(picture: Float[Tensor, "1 3 h w"], whole: Detections) -> bool:
    """Whether the detector saw a picture with fewer pixels than it has."""
    return any(SEEN * seen < side for seen, side in zip(whole.mask_logits.shape[-2:], picture.shape[-2:], strict=True))


def _sundries_in(found: Detections, hole: Float[Tensor, "1 1 h w"], ios: float, score: float) -> Entities:
    inside = sundries(found, hole.to(found.mask_logits), ios, score)
    return entities_of(found, 0, inside[0], hole.shape[-2:])


def _new(found: Entities, known: Bool[Tensor, "h w"]) -> Entities:
    """Those entities that were not known before, nor are by a surer one of them."""
    new = []
    for place, mask in enumerate(found.masks):
        if not _is_known(mask, known):
            new.append(place)
            known = known | mask
    return Entities(found.masks[new], found.scores[new])


def _is_known(mask: Bool[Tensor, "h w"], known: Bool[Tensor, "h w"]) -> bool:
    return bool((mask & known).sum() >= KNOWN * mask.sum())
