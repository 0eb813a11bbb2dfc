"""The sundry detector as the judge between candidates of one fill."""

import torch
from torch import Tensor

from inpainting_core.choosing import Judge
from inpainting_core.shapes import Float
from yoeo_core.close_check import check_closely
from yoeo_core.close_up import Look


def judge_by(look: Look) -> Judge:
    """A judge that gives each candidate the share of its hole that is sundries, by the rule of YOEO's loss.

    ``look`` is a detector that is shown one picture at a time, RGB in [0, 1], and parts of it.
    """

    def judge(filled: Float[Tensor, "n 3 h w"], hole: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "n"]:
        return torch.tensor([check_closely(one, hole, look(one), look).area for one in filled.split(1)])

    return judge
