"""The entities of one picture: the queries of a detector that are to be seen, as masks of the picture's own size."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.shapes import Bool, Float
from yoeo_core.detector import Detections

SURE = 0.2  # of a query's score: YOEO's p > 0.2, below which it is not looked at


@dataclass(frozen=True, eq=False)
class Entities:
    """Masks that may overlap, the surest first, and how sure the detector is of each, in [0, 1]."""

    masks: Bool[Tensor, "n h w"]
    scores: Float[Tensor, "n"]

    def __len__(self) -> int:
        return len(self.scores)


@torch.no_grad()
def entities_of(detections: Detections, picture: int, queries: Bool[Tensor, "q"], size: tuple[int, int]) -> Entities:
    """Those queries of one picture of the batch at ``size`` (h, w), the surest first.

    A mask is where its probability is above 1/2; a query that is so nowhere shows nothing and is left out.
    """
    score = detections.entity_score[picture]
    order = score.argsort(descending=True, stable=True)
    order = order[queries[order]]
    masks = torch.zeros(len(order), *size, dtype=torch.bool, device=score.device)
    # one at a time, for as numbers they are four times as large
    for mask, logits in zip(masks, detections.mask_logits[picture, order], strict=True):
        torch.gt(F.interpolate(logits[None, None], size, mode="bilinear")[0, 0], 0, out=mask)
    seen = masks.flatten(1).any(1)
    return Entities(masks[seen], score[order][seen])


def sure_entities(detections: Detections, picture: int, size: tuple[int, int], score: float = SURE) -> Entities:
    """All entities of one picture whose score is above ``score``."""
    return entities_of(detections, picture, detections.entity_score[picture] > score, size)
