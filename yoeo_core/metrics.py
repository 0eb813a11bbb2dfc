"""How much an erasure left behind: sundries counted (MSN) and measured (MARS), as YOEO's authors evaluate.

A sundry is a segment that lies inside the hole: something new where background was asked for.  The numbers depend on
the segmenter (the authors' is EntitySeg's Mask2Former on HorNet-L), so name it wherever they are given.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.shapes import Float, Int
from yoeo_core.context_deviation import cfd

__all__ = ["cfd", "mars", "msn", "panoptic_merge", "sundry_segments"]

OBJECT_THRESHOLD = 0.6  # of a query's score
OVERLAP_THRESHOLD = 0.6  # of the share of its mask that a query wins
INSIDE = 0.95  # of the segment's area in the hole
SHARE = 0.005  # of the hole's area under the segment


@torch.no_grad()
def panoptic_merge(
    class_logits: Float[Tensor, "b q k"],
    mask_logits: Float[Tensor, "b q h4 w4"],
    size: tuple[int, int],
    object_threshold: float = OBJECT_THRESHOLD,
    overlap_threshold: float = OVERLAP_THRESHOLD,
) -> Int[Tensor, "b h w"]:
    """A detector's queries as one map of segments, numbered 1, 2, ... in the order of the queries; 0 is none.

    Mask2Former's panoptic inference (Cheng et al. 2022) at ``size`` (h, w), class-agnostic: the score of a query is 1
    minus the probability of no object (the last class), and every query that is kept is a segment of its own.
    """
    scores = 1 - class_logits.softmax(-1)[..., -1]
    return torch.stack(
        [
            _merge(score[score > object_threshold], masks[score > object_threshold], size, overlap_threshold)
            for score, masks in zip(scores, mask_logits, strict=True)
        ]
    )


def _merge(
    scores: Float[Tensor, "k"], mask_logits: Float[Tensor, "k h4 w4"], size: tuple[int, int], overlap_threshold: float
) -> Int[Tensor, "h w"]:
    merged, number = torch.zeros(size, dtype=torch.long, device=scores.device), 0
    if not len(scores):
        return merged
    # 1. each pixel goes to the query that is surest of it
    masks = F.interpolate(mask_logits[None], size, mode="bilinear", align_corners=False)[0].sigmoid()
    winner = (scores[:, None, None] * masks).argmax(0)
    for query, mask in enumerate(masks):
        # 2. a query that loses too much of its own mask to others is dropped
        won, own = winner == query, mask >= 0.5
        if not (won & own).any() or won.sum() / own.sum() < overlap_threshold:
            continue
        # 3. the rest keep what they won and believe in
        number += 1
        merged[won & own] = number
    return merged


def sundry_segments(
    segments: Int[Tensor, "h w"], hole: Float[Tensor, "h w"], inside: float = INSIDE, share: float = SHARE
) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"]]:
    """The numbers of the segments that are sundries, and the share of the hole that each covers.

    ``segments`` is 0 where there is none.  A sundry has more than ``inside`` of its area in the hole, and covers more
    than ``share`` of that.
    """
    in_hole = segments[hole > 0]
    area = segments.flatten().bincount()
    shared = in_hole.bincount(minlength=len(area)).float()  # exact up to 2**24 pixels; Apple's GPUs have no double
    covered = shared / max(1, in_hole.numel())
    sundry = (shared / area.clamp_min(1) > inside) & (covered > share)
    sundry[0] = False
    return sundry.nonzero()[:, 0], covered[sundry].float()


def msn(
    segments: Int[Tensor, "b h w"], hole: Float[Tensor, "b 1 h w"], inside: float = INSIDE, share: float = SHARE
) -> Float[Tensor, "b"]:
    """Number of sundries in each picture; its mean over pictures is the paper's MSN."""
    found = [sundry_segments(*pair, inside, share)[0] for pair in zip(segments, hole[:, 0], strict=True)]
    return torch.tensor([float(len(numbers)) for numbers in found])


def mars(
    segments: Int[Tensor, "b h w"], hole: Float[Tensor, "b 1 h w"], inside: float = INSIDE, share: float = SHARE
) -> Float[Tensor, "b"]:
    """Share of each picture's hole that is sundries, in [0, 1]; its mean over pictures is the paper's MARS."""
    found = [sundry_segments(*pair, inside, share)[1] for pair in zip(segments, hole[:, 0], strict=True)]
    return torch.stack([covered.sum() for covered in found])
