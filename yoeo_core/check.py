"""Did the erasure work?  Looks for sundries in the hole, by the rule of YOEO's loss or by that of its metrics.

A sundry is an entity that lies in the hole, where background was asked for: it was not erased, or it was invented.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.shapes import Bool, Float, Int
from yoeo_core.detector import Detections
from yoeo_core.entities import SURE, Entities, entities_of
from yoeo_core.metrics import INSIDE, OBJECT_THRESHOLD, SHARE, panoptic_merge, sundry_segments
from yoeo_core.suppression import sundries

IOS = 0.9  # of a mask's share in the hole, as the loss has it


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a detector finds in one picture, and which of it is sundry.

    ``area`` is the share of the hole that is sundries, in [0, 1]; 0 where the hole is empty.
    """

    sundries: Entities
    others: Entities
    area: float

    @property
    def count(self) -> int:
        return len(self.sundries)

    @property
    def passed(self) -> bool:
        return self.count == 0

    @property
    def sundry_mask(self) -> Bool[Tensor, "h w"]:
        """All sundries in one; a sundry may reach a little out of the hole."""
        return self.sundries.masks.any(0)


@torch.no_grad()
def check(
    detections: Detections, hole: Float[Tensor, "b 1 height width"], *, ios: float = IOS, score: float = SURE
) -> tuple[Verdict, ...]:
    """One verdict a picture by the loss's rule; hole 1 where erased, at the picture's size.

    A sundry is a query whose score is above ``score`` and whose mask lies in the hole by more than ``ios``
    (``suppression.sundries``) and is to be seen at all; the other entities are the rest of the queries above
    ``score``.  Nothing is a sundry in an empty hole.  Source: YOEO (arXiv 2603.27599), the set I of L_SS.
    """
    inside, sure = sundries(detections, hole, ios, score), detections.entity_score > score
    return tuple(
        _by_loss(detections, picture, one[0] > 0, inside[picture], sure[picture]) for picture, one in enumerate(hole)
    )


def _by_loss(
    detections: Detections,
    picture: int,
    hole: Bool[Tensor, "height width"],
    inside: Bool[Tensor, "q"],
    sure: Bool[Tensor, "q"],
) -> Verdict:
    found = entities_of(detections, picture, inside, hole.shape)
    others = entities_of(detections, picture, sure & ~inside, hole.shape)
    covered = (found.masks.any(0) & hole).sum() / hole.sum().clamp_min(1)
    return Verdict(found, others, covered.item())


@torch.no_grad()
def check_by_metric(
    detections: Detections, hole: Float[Tensor, "b 1 height width"], *, inside: float = INSIDE, share: float = SHARE
) -> tuple[Verdict, ...]:
    """One verdict a picture as the metrics judge: ``count`` is its MSN and ``area`` its MARS (``yoeo_core.metrics``).

    The entities are panoptic segments, which do not overlap; a sundry has more than ``inside`` of itself in the hole
    and covers more than ``share`` of that.
    """
    segments = panoptic_merge(detections.class_logits, detections.mask_logits, hole.shape[-2:])
    return tuple(
        _by_metric(detections, picture, segments[picture], one[0], inside, share) for picture, one in enumerate(hole)
    )


def _by_metric(
    detections: Detections,
    picture: int,
    segments: Int[Tensor, "height width"],
    hole: Float[Tensor, "height width"],
    inside: float,
    share: float,
) -> Verdict:
    numbers = torch.arange(1, int(segments.max()) + 1, device=segments.device)
    masks = segments == numbers[:, None, None]
    scores = _scores_of(masks, detections, picture)
    found, covered = sundry_segments(segments, hole, inside, share)
    is_sundry = torch.isin(numbers, found)
    return Verdict(
        Entities(masks[is_sundry], scores[is_sundry]),
        Entities(masks[~is_sundry], scores[~is_sundry]),
        covered.sum().item(),
    )


def _scores_of(masks: Bool[Tensor, "n height width"], detections: Detections, picture: int) -> Float[Tensor, "n"]:
    """The score of the query that each panoptic segment is of, which the merged map no longer tells.

    At each of a segment's pixels that query won by the product of score and probability, so it has the largest sum
    of these products over the segment.
    """
    score = detections.entity_score[picture]
    kept = score > OBJECT_THRESHOLD
    score, logits = score[kept], detections.mask_logits[picture, kept]
    if not len(masks):
        return score[:0]
    probability = F.interpolate(logits[None], masks.shape[-2:], mode="bilinear")[0].sigmoid()
    products = masks.flatten(1).to(score) @ (score[:, None, None] * probability).flatten(1).T
    return score[products.argmax(1)]
