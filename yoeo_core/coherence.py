"""L_EFC, YOEO's entity feature coherence: where an entity runs into the hole, its fill should look like it.

Likeness is the cosine between the detector's features in the hole and the entity's mean feature outside of it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.shapes import Bool, Float
from yoeo_core.detector import Detections
from yoeo_core.suppression import check_form, on_grid, sundries, sundry_area

AREA = 0.2  # probability above which a pixel belongs to a sundry


def coherence_loss(
    detections: Detections,
    hole: Float[Tensor, "b 1 height width"],
    *,
    teacher: Detections | None = None,
    ios: float = 0.9,
    teacher_ios: float = 0.85,
    score: float = 0.2,
    form: str = "official",
) -> Float[Tensor, "b"]:
    """L_EFC of each sample; hole 1 where erased, at the picture's size.  A batch's loss is the mean over samples.

    The entities are the queries with p > ``score`` that are no sundries, without the pixels of sundries.  Given the
    ``teacher``'s picture as well (D1), they are its entities, and the student's own where the teacher invents a
    sundry.  An entity with no pixel in the hole, or none outside, is skipped; without any the loss is 0.
    ``official`` is the authors' code: masks cut at the picture's size and averaged to the features' grid, the mean
    over covered pixels of 1 - cos, no gradient into the entity's mean.  ``paper`` is the formula as printed: binary
    masks on the features' grid, the sum of -cos.  Raises ValueError for an unknown form.
    """
    check_form(form)
    features, official = detections.features, form == "official"
    size = hole.shape[-2:] if official else features.shape[-2:]
    entities, _ = find_entities(detections, sundries(detections, hole, ios, score, not official), score, size)
    if teacher is not None:
        invented = sundries(teacher, hole, teacher_ios, score, not official)
        sure, area = find_entities(teacher, invented, score, size)
        entities = [torch.cat([own & a, judged]) for own, judged, a in zip(entities, sure, area, strict=True)]
    term = official_term if official else paper_term
    cut = hole if official else on_grid(hole, features)
    return torch.stack([term(*sample) for sample in zip(features, entities, cut[:, 0] > 0.5, strict=True)])


@torch.no_grad()
def find_entities(
    detections: Detections, sundry: Bool[Tensor, "b q"], score: float, size: tuple[int, int]
) -> tuple[list[Bool[Tensor, "k rows columns"]], Bool[Tensor, "b 1 rows columns"]]:
    """At this size, each sample's entities without the pixels of its sundries, and these pixels."""
    area = sundry_area(detections, sundry, size, AREA)
    kept = (detections.entity_score > score) & ~sundry
    logits = [masks[chosen][:, None] for masks, chosen in zip(detections.mask_logits, kept, strict=True)]
    masks = [F.interpolate(few, size, mode="bilinear")[:, 0] > 0 for few in logits]
    return [few & ~taken for few, taken in zip(masks, area, strict=True)], area


def official_term(
    features: Float[Tensor, "c h w"], entities: Bool[Tensor, "k height width"], hole: Bool[Tensor, "height width"]
) -> Float[Tensor, ""]:
    """The mean over covered pixels of ``sum_k m_k (1 - cos) / sum_k m_k``, m_k an entity's share of a cell."""
    inside, outside = two_sided(entities, hole, features)
    distance = 1 - similarity(features, centroids(features, outside).detach())
    weight = inside.sum(0)
    covered = weight > 0
    per_pixel = (inside * distance).sum(0) / weight.where(covered, 1)
    return per_pixel.sum() / covered.sum().clamp(min=1)


def paper_term(
    features: Float[Tensor, "c h w"], entities: Bool[Tensor, "k h w"], hole: Bool[Tensor, "h w"]
) -> Float[Tensor, ""]:
    """``-sum_k sum_xy cos`` over the pixels of each entity in the hole."""
    inside, outside = two_sided(entities, hole, features)
    return -(inside * similarity(features, centroids(features, outside))).sum()


def two_sided(
    entities: Bool[Tensor, "k height width"], hole: Bool[Tensor, "height width"], features: Float[Tensor, "c h w"]
) -> tuple[Float[Tensor, "n h w"], Float[Tensor, "n h w"]]:
    """The parts in the hole and outside of it of the entities that have both, as shares of the features' cells."""
    inside, outside = entities & hole, entities & ~hole
    both = inside.flatten(1).any(1) & outside.flatten(1).any(1)
    parts = torch.stack([inside[both], outside[both]], 1).to(features)
    return F.adaptive_avg_pool2d(parts, features.shape[-2:]).unbind(1)


def centroids(features: Float[Tensor, "c h w"], masks: Float[Tensor, "n h w"]) -> Float[Tensor, "n c"]:
    """The paper's f_i, an entity's mean feature, at length 1."""
    total = torch.einsum("chw,nhw->nc", features, masks)
    return F.normalize(total / masks.sum((-2, -1))[:, None], dim=1)


def similarity(features: Float[Tensor, "c h w"], directions: Float[Tensor, "n c"]) -> Float[Tensor, "n h w"]:
    """The cosine of every pixel's feature with every direction."""
    return torch.einsum("nc,chw->nhw", directions, F.normalize(features, dim=0))
