"""L_SS, YOEO's sundry suppression: whatever the detector finds inside the hole should be found no longer.

A sundry is a query that is an entity (p > 0.2) and lies in the hole (IoS > 0.9): it was not erased but invented.
The trainer takes the loss where a hole holds whole entities (D2) and not where it holds none (D1), and sees to it
with ``gradient_in_hole`` that only the fill is pushed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.shapes import Bool, Float
from yoeo_core.detector import Detections

FORMS = ("official", "paper")
SMALLEST_MASK = 1e-4  # keeps the IoS of an empty mask finite


@dataclass(frozen=True, eq=False)
class Suppression:
    """L_SS in two terms, because training caps the gradient of each by itself (``balance``); one number a sample."""

    probability: Float[Tensor, "b"]
    mask: Float[Tensor, "b"]


def check_form(form: str) -> None:
    """Raise ValueError unless ``form`` is one of ``FORMS``."""
    if form not in FORMS:
        raise ValueError(f"form must be one of {FORMS}, got {form!r}.")


def suppression_loss(
    detections: Detections,
    hole: Float[Tensor, "b 1 height width"],
    *,
    ios: float = 0.9,
    score: float = 0.2,
    scale: float = 0.5,
    form: str = "official",
    alpha: float = 1.0,
) -> Suppression:
    """L_SS of each sample; hole 1 where erased, at the picture's size.  A batch's loss is the mean over samples.

    Over the sundries i, with p0 the probability of no-object and alpha_i their share of the picture to the power of
    ``alpha`` (a count, so no gradient passes it; at 0 all weigh alike): ``probability`` is ``-sum alpha_i log p0_i``,
    ``mask`` is ``-sum_xy log(1 - m_i) / hw``.
    ``official`` is the authors' code, which sums the mask term over the hole only; ``paper`` is the formula as
    printed, over the whole picture, with the IoS of binary masks.  Both are 0 where no query is a sundry.
    ``scale`` is the paper's lambda_SS.  Raises ValueError for an unknown form.
    """
    check_form(form)
    sundry = sundries(detections, hole, ios, score, binary=form == "paper")
    logits = detections.mask_logits
    share = (logits > 0).to(logits).mean((-2, -1)) ** alpha
    not_masked = F.softplus(logits)  # -log(1 - sigmoid)
    if form == "official":
        not_masked = not_masked * on_grid(hole, logits)
    probability = -(sundry * share * detections.no_object_log_prob).sum(1)
    return Suppression(scale * probability, scale * (sundry * not_masked.mean((-2, -1))).sum(1))


@torch.no_grad()
def sundries(
    detections: Detections,
    hole: Float[Tensor, "b 1 height width"],
    ios: float = 0.9,
    score: float = 0.2,
    binary: bool = False,
) -> Bool[Tensor, "b q"]:
    """The queries that are entities and lie in the hole."""
    inside = intersection_over_segment(detections.mask_logits, hole, binary)
    return (inside > ios) & (detections.entity_score > score)


@torch.no_grad()
def intersection_over_segment(
    mask_logits: Float[Tensor, "b q h w"], hole: Float[Tensor, "b 1 height width"], binary: bool = False
) -> Float[Tensor, "b q"]:
    """IoS, how much of each mask lies in the hole: of its probabilities, or of its pixels where ``binary``."""
    mask = (mask_logits > 0).to(mask_logits) if binary else mask_logits.sigmoid()
    return (mask * on_grid(hole, mask_logits)).sum((-2, -1)) / mask.sum((-2, -1)).clamp(min=SMALLEST_MASK)


@torch.no_grad()
def sundry_area(
    detections: Detections, sundry: Bool[Tensor, "b q"], size: tuple[int, int], probability: float
) -> Bool[Tensor, "b 1 height width"]:
    """The pixels of a picture of this size where the surest of the sundries is above ``probability``."""
    logits = detections.mask_logits
    surest = logits.masked_fill(~sundry[..., None, None], torch.finfo(logits.dtype).min).amax(1, keepdim=True)
    return F.interpolate(surest, size, mode="bilinear").sigmoid() > probability


def on_grid(hole: Float[Tensor, "b 1 height width"], like: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
    """The hole on another grid: a cell is what its centre is, as the authors have it (``to_grid`` would grow it)."""
    return F.interpolate(hole.to(like), like.shape[-2:], mode="nearest-exact")


def gradient_in_hole(
    image: Float[Tensor, "b c height width"], hole: Float[Tensor, "b 1 height width"]
) -> Float[Tensor, "b c height width"]:
    """The picture itself, whose gradient is multiplied by the hole on its way back: exactly 0 outside."""
    return _GradientInHole.apply(image, hole)


class _GradientInHole(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image: Tensor, hole: Tensor) -> Tensor:
        ctx.save_for_backward(hole)
        return image.view_as(image)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (hole,) = ctx.saved_tensors
        return gradient * hole.to(gradient), None
