"""The sundry detector as the judge between candidates of one fill."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from inpainting_core.choosing import Judge
from inpainting_core.shapes import Float
from yoeo_core.check import check
from yoeo_core.detector import Detections


def judge_by(find: Callable[[Tensor], Iterable[Detections]]) -> Judge:
    """A judge that gives each candidate the share of its hole that is sundries, by the rule of YOEO's loss.

    ``find`` looks at pictures ``[n, 3, h, w]``, RGB in [0, 1], and may answer in several batches.
    """

    def judge(filled: Float[Tensor, "n 3 h w"], hole: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "n"]:
        verdicts = []
        for found in find(filled):
            holes = hole.to(found.mask_logits).expand(len(found.mask_logits), -1, -1, -1)
            verdicts += check(found, holes)
        return torch.tensor([verdict.area for verdict in verdicts])

    return judge
