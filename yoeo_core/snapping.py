"""A loosely painted mask becomes the whole entities that it means.

A brush stroke lies inside its entity and covers little of it; a box holds its entity and much else besides.  So the
entity that a painted part means is the one for which two shares together are greatest: of the part in the entity,
and of the entity in the part.  At least one of them must be a half, or nothing is meant and the part stays.  And
what reaches over less than half of a part that is mostly something else is not put in its place: a box around a man
does not mean his tie.
"""

from dataclasses import dataclass

import torch
from scipy import ndimage
from torch import Tensor

from inpainting_core.masks import components
from inpainting_core.shapes import Bool, Float
from yoeo_core.entities import Entities

MEANT = 0.5  # of one of the two shares
REACH = 0.5  # of the box that just holds a part: over so much of it an entity within must reach, thin as it may be


@dataclass(frozen=True, eq=False)
class Snapped:
    """A mask, 1 where to erase, and for each painted part from top to bottom its entity's score, None if it stayed."""

    mask: Float[Tensor, "1 1 h w"]
    scores: tuple[float | None, ...]


def snap(rough: Float[Tensor, "1 1 h w"], entities: Entities) -> Snapped:
    """Each connected part of a rough mask (1 where painted) as the whole mask of the entity it means, and no more.

    ``entities`` are the same picture's, at the same size.  A part that means none stays as it was painted.
    """
    labels = components(rough)
    parts = [labels == number for number in range(1, int(labels.max()) + 1)]
    meant = [_meant(part, entities) for part in parts]
    masks = [part if i is None else entities.masks[i].cpu() for part, i in zip(parts, meant, strict=True)]
    union = torch.stack(masks).any(0) if masks else torch.zeros_like(labels, dtype=torch.bool)
    scores = tuple(None if i is None else entities.scores[i].item() for i in meant)
    return Snapped(union[None, None].to(rough), scores)


def _meant(part: Bool[Tensor, "h w"], entities: Entities) -> int | None:
    """The place of the entity that a painted part means; the surer one where two are meant as much."""
    if not len(entities):
        return None
    filled = torch.from_numpy(ndimage.binary_fill_holes(part.numpy()))  # a line around an entity means what it holds
    masks = entities.masks.cpu().flatten(1)
    both = (masks & filled.flatten()).sum(1)
    of_part, of_entity = both / filled.sum(), both / masks.sum(1)
    meant = torch.maximum(of_part, of_entity) >= MEANT
    if not meant.any():
        return None
    best = int((of_part + of_entity).masked_fill(~meant, -1).argmax())
    fills = of_part[best] >= MEANT or reach(entities.masks[best].cpu() & filled) >= REACH * reach(filled)
    return best if fills else None


def reach(mask: Bool[Tensor, "h w"]) -> int:
    """The area in pixels of the box that just holds a mask; 0 for an empty one."""
    if not mask.any():
        return 0
    low, high = mask.nonzero().aminmax(dim=0)
    return int((high - low + 1).prod())
