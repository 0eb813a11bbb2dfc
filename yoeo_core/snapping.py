"""A loosely painted mask becomes the whole entities that it means.

A brush stroke lies inside its entity and covers little of it; a box holds its entity and much else besides.  So the
entity that a painted part means is the one for which two shares together are greatest: of the part in the entity,
and of the entity in the part.  At least one of them must be a half, or nothing is meant.  And what a part that is
mostly something else holds must span it: a box around a man does not mean his tie.  A thing that the detector is not
certain of ends where the box around most of it ends, and to what is painted otherwise it must fit: a cross over a dog
does not mean half of the room.

What a box or a closed line holds is cut out by its colours, unless the detector is certain of what it means: a box says
where a thing ends, which a small detector does not see.  A part that means nothing stays.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from inpainting_core.masks import Box, bounding_boxes, box_around, components
from inpainting_core.shapes import Bool, Float, Int
from yoeo_core.entities import Entities

MEANT = 0.5  # of one of the two shares
REACH = 0.5  # of the box that just holds a part: over so much of it what it holds must reach
FILL = 0.25  # of a part: so much of it an entity within must fill
CERTAIN = 0.8  # of an entity's score: a box means it, whatever the colours say
BOX = 0.9  # of the box that just holds a part: so much a painted one fills
MOST_OF_STROKE, MOST_OF_PART = 25, 4  # times a painted part may an entity be as large that is not certain
COVERED = 0.9  # of a part that is no stroke: so much of it lies in such an entity
ALIKE = 0.5  # or so much their intersection is of their union
STROKE = 3  # times the largest disc in it is a stroke's area


@dataclass(frozen=True, eq=False)
class Snapped:
    """A mask, 1 where to erase, and what became of each painted part, from top to bottom.

    ``scores`` has its entity's score, None where it means none; ``cut`` is true where it was cut out by its colours.
    """

    mask: Float[Tensor, "1 1 h w"]
    scores: tuple[float | None, ...]
    cut: tuple[bool, ...]


def snap(rough: Float[Tensor, "1 1 h w"], entities: Entities, picture: Float[Tensor, "1 3 h w"]) -> Snapped:
    """Each connected part of a rough mask (1 where painted) as the whole mask of the thing it means, and no more.

    ``picture`` is RGB in [0, 1], ``entities`` are its own, at the same size.  A part that means none stays as it was
    painted.
    """
    labels, known = components(rough), Entities(entities.masks.cpu(), entities.scores.cpu())
    areas = torch.tensor([int(mask.count_nonzero()) for mask in known.masks], dtype=torch.long)
    union, scores, by_colour = torch.zeros(labels.shape, dtype=torch.bool), [], []
    for (top, left, bottom, right), part in parts_of(labels):
        view = slice(top, bottom), slice(left, right)  # nothing beyond a part's box is asked
        near = Entities(known.masks[(..., *view)], known.scores)
        meant = _meant(part, near, areas)
        cut = _cut(part, picture, view) if meant is None or known.scores[meant] < CERTAIN else None
        if cut is not None:
            union[view] |= cut
        elif meant is None:
            union[view] |= part
        elif _is_held(part, near, areas, meant):
            union[view] |= near.masks[meant] & held(part)
        else:
            union |= known.masks[meant]
        scores.append(None if meant is None or cut is not None else known.scores[meant].item())
        by_colour.append(cut is not None)
    return Snapped(union[None, None].to(rough), tuple(scores), tuple(by_colour))


def parts_of(labels: Int[Tensor, "h w"]) -> Iterator[tuple[Box, Bool[Tensor, "rows columns"]]]:
    """Each numbered part, cut out along the box that just holds it, and the box."""
    for number, (top, left, bottom, right) in enumerate(bounding_boxes(labels), 1):
        yield (top, left, bottom, right), labels[top:bottom, left:right] == number


def _meant(part: Bool[Tensor, "h w"], near: Entities, areas: Int[Tensor, "n"]) -> int | None:
    """The place of the entity that a painted part means; the surer one where two are meant as much.

    ``near`` is what of the entities lies in the part's box; ``areas`` are their whole ones.
    """
    if not len(near):
        return None
    filled = held(part)
    both = (near.masks & filled).sum((1, 2))
    of_part, of_entity = both / filled.sum(), both / areas
    meant = torch.maximum(of_part, of_entity) >= MEANT
    if not bounds(part):
        meant &= (near.scores >= CERTAIN) | _fits(part, of_part, of_entity)
    if not meant.any():
        return None
    best = int((of_part + of_entity).masked_fill(~meant, -1).argmax())
    spans = of_part[best] >= FILL and spanned(near.masks[best] & filled, filled)
    return best if of_part[best] >= MEANT or spans else None


def _fits(part: Bool[Tensor, "h w"], of_part: Float[Tensor, "n"], of_entity: Float[Tensor, "n"]) -> Bool[Tensor, "n"]:
    """Which entities a part that is no box may mean though the detector is not certain of them, by the two shares."""
    if is_stroke(part):
        return of_part <= MOST_OF_STROKE * of_entity
    union = of_part + of_entity - of_part * of_entity
    return (of_part * of_entity >= ALIKE * union) | ((of_part >= COVERED) & (of_part <= MOST_OF_PART * of_entity))


def _is_held(part: Bool[Tensor, "h w"], near: Entities, areas: Int[Tensor, "n"], i: int) -> bool:
    """Whether a box holds most of the entity that it means, which is then cut off where the box ends, unless certain.

    A part that lies in its entity is a broad stroke, however square.
    """
    filled = held(part)
    both = (near.masks[i] & filled).sum()
    holds = bounds(part) and both >= MEANT * areas[i] and both < BOX * filled.sum()
    return bool(holds and near.scores[i] < CERTAIN)


def _cut(
    part: Bool[Tensor, "h w"], picture: Float[Tensor, "1 3 rows columns"], view: tuple[slice, slice]
) -> Bool[Tensor, "h w"] | None:
    """What a box or a closed line in this view of a picture holds, by its colours.

    None of another part, and where that does not span it.
    """
    if not bounds(part):
        return None
    from yoeo_core.cut_out import cut_out  # parts of scipy that ComfyUI does not start with

    filled, everywhere = held(part), torch.zeros(picture.shape[-2:], dtype=torch.bool)
    everywhere[view] = filled
    thing = cut_out(picture, everywhere)[view]
    return thing if spanned(thing, filled) and not torch.equal(thing, filled) else None


def held(part: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """The part and what it surrounds: a line around a thing means what it holds."""
    return torch.from_numpy(ndimage.binary_fill_holes(part.numpy()))


def bounds(part: Bool[Tensor, "h w"]) -> bool:
    """Whether a part says where a thing ends: a box around it, or a closed line."""
    return is_box(part) or is_closed(part)


def is_box(part: Bool[Tensor, "h w"]) -> bool:
    """Whether a part fills the box that just holds it, its corners too, which a round brush does not reach."""
    (top, left), (bottom, right) = part.nonzero().aminmax(dim=0)
    corners = part[top, left] & part[top, right] & part[bottom, left] & part[bottom, right]
    return bool(corners) and bool(part.sum() >= BOX * reach(part))


def is_closed(part: Bool[Tensor, "h w"]) -> bool:
    """Whether a part is a line around something, at least as much as the line itself."""
    return bool(held(part).sum() >= 2 * part.sum())


def is_stroke(part: Bool[Tensor, "h w"]) -> bool:
    """Whether a part is a line of the brush, several discs as broad as itself, and not a thing painted all over."""
    top, left, bottom, right = box_around(part[None, None].float())
    pixels = np.pad(part[top:bottom, left:right].numpy(), 1)
    return bool(pixels.sum() > STROKE * pi * ndimage.distance_transform_edt(pixels).max() ** 2)


def spanned(thing: Bool[Tensor, "h w"], part: Bool[Tensor, "h w"]) -> bool:
    """Whether a thing reaches over half of a part, thin or round as it may be."""
    return reach(thing) >= REACH * reach(part)


def reach(mask: Bool[Tensor, "h w"]) -> int:
    """The area in pixels of the box that just holds a mask; 0 for an empty one."""
    if not mask.any():
        return 0
    low, high = mask.nonzero().aminmax(dim=0)
    return int((high - low + 1).prod())
