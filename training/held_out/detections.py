"""How a detector does on pictures it has never seen: recall, precision and a sheet of outlines."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from inpainting_core.shapes import Bool, Float, Int

Predict = Callable[[Tensor], tuple[Tensor, Tensor]]  # image -> entity scores [b, q], mask logits [b, q, h4, w4]

MIN_SCORE = 0.2  # YOEO's p > 0.2: below it a query is not looked at
MIN_IOU = 0.5
COLOURS = ((1.0, 0.2, 0.2), (0.2, 1.0, 0.2), (0.3, 0.5, 1.0), (1.0, 1.0, 0.1), (1.0, 0.2, 1.0), (0.1, 1.0, 1.0))


def masks_of(entities: Int[Tensor, "h w"]) -> Bool[Tensor, "n h w"]:
    """One mask for each id of a map, 0 left out."""
    ids = entities.unique()
    return entities == ids[ids != 0][:, None, None]


def found(scores: Float[Tensor, "q"], mask_logits: Float[Tensor, "q h4 w4"], size: tuple[int, int]) -> Tensor:
    """The masks of the queries above the score, best first, at the picture's size; ``[n, h, w]`` bool."""
    order = scores.argsort(descending=True)
    order = order[scores[order] > MIN_SCORE]
    logits = mask_logits[order][:, None].float()  # the queries as a batch, which may be empty; channels may not
    masks = interpolate(logits, size=size, mode="bilinear")[:, 0] > 0
    return masks[masks.flatten(1).any(1)]


def matches(masks: Bool[Tensor, "n h w"], truth: Bool[Tensor, "m h w"]) -> Float[Tensor, "k"]:
    """IoU of every entity that a mask finds; the best mask chooses first and each entity is found once."""
    a, b = masks.flatten(1).float(), truth.flatten(1).float()
    both = a @ b.T
    iou = both / (a.sum(1)[:, None] + b.sum(1) - both).clamp_min(1)
    hits = []
    for row in range(len(iou) if len(truth) else 0):
        best, place = iou[row].max(0)
        if best >= MIN_IOU:
            hits.append(best)
            iou[:, place] = 0
    return torch.stack(hits) if hits else iou.new_zeros(0)


@torch.no_grad()
def recall_and_precision(predict: Predict, image: Tensor, entities: Tensor, batch_size: int = 16) -> dict[str, float]:
    """Over all pictures: entities found, masks that are right, their harmonic mean F1, and the mean IoU of those."""
    hits, masks_seen, truths = [], 0, 0
    for start in range(0, len(image), batch_size):
        scores, logits = predict(image[start : start + batch_size])
        for one_score, one_logits, ids in zip(scores, logits, entities[start : start + batch_size], strict=True):
            masks, truth = found(one_score, one_logits, ids.shape), masks_of(ids)
            hits.append(matches(masks, truth))
            masks_seen, truths = masks_seen + len(masks), truths + len(truth)
    iou = torch.cat(hits)
    return {
        "recall": len(iou) / max(1, truths),
        "precision": len(iou) / max(1, masks_seen),
        "f1": 2 * len(iou) / max(1, truths + masks_seen),
        "iou": iou.mean().item() if len(iou) else 0.0,
    }


def outlined(image: Float[Tensor, "3 h w"], masks: Bool[Tensor, "n h w"]) -> Float[Tensor, "3 h w"]:
    """The picture with a coloured line around every mask."""
    image = image.clone()
    for number, mask in enumerate(masks):
        grown = max_pool2d(mask[None].float(), 3, 1, 1)[0] > 0
        image[:, grown & ~mask] = image.new_tensor(COLOURS[number % len(COLOURS)])[:, None]
    return image


@torch.no_grad()
def outline_sheet(predict: Predict, image: Tensor, entities: Tensor) -> list[Tensor]:
    """A sheet's rows: the pictures, what is there, what is found."""
    scores, logits = predict(image)
    there = [outlined(one, masks_of(ids)) for one, ids in zip(image, entities, strict=True)]
    seen = [
        outlined(one, found(score, logit, one.shape[-2:]))
        for one, score, logit in zip(image, scores, logits, strict=True)
    ]
    return [image, torch.stack(there), torch.stack(seen)]
