"""Thing or stuff: how far each entity is an object that one could erase, by a checkpoint that knows classes."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from inpainting_core.shapes import Float

Thingness = Callable[[list[Image.Image]], Tensor]  # pictures of one size -> [b, h, w] in [0, 1], at any size


def load_thingness(name: str, things: set[str], device: str) -> Thingness:
    """A semantic or panoptic checkpoint (folder or hub name) as P(thing) / (P(thing) + P(stuff)) of every pixel.

    ``things`` are the names of its classes that are things.  Raises ValueError where they are none or all of them.
    """
    from transformers import AutoConfig, AutoImageProcessor
    from transformers import AutoModelForSemanticSegmentation as Semantic
    from transformers import AutoModelForUniversalSegmentation as Universal
    from transformers.models.auto.modeling_auto import MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES as UNIVERSAL

    config = AutoConfig.from_pretrained(name)
    thing = torch.tensor([config.id2label[number] in things for number in range(config.num_labels)])
    if not thing.any() or thing.all():
        raise ValueError(
            f"the things must be some of the {len(thing)} classes of {name} "
            f"({config.id2label[0]}, ...) and not all, got {int(thing.sum())} of them."
        )
    processor = AutoImageProcessor.from_pretrained(name)
    by_queries = config.model_type in UNIVERSAL
    network = (Universal if by_queries else Semantic).from_pretrained(name).to(device).eval()

    @torch.no_grad()
    def thingness(pictures: list[Image.Image]) -> Tensor:
        found = network(**processor(images=pictures, return_tensors="pt").to(device))
        if by_queries:
            classes = queries_to_classes(found.class_queries_logits, found.masks_queries_logits)
        else:
            classes = found.logits.softmax(1)
        return (classes[:, thing].sum(1) / classes.sum(1).clamp_min(1e-8)).float().cpu()

    return thingness


def queries_to_classes(
    class_logits: Float[Tensor, "b q k"], mask_logits: Float[Tensor, "b q h w"]
) -> Float[Tensor, "b c h w"]:
    """Mask2Former's semantic inference: how much each class (no-object, the last, left out) claims each pixel."""
    return torch.einsum("bqc,bqhw->bchw", class_logits.softmax(-1)[..., :-1], mask_logits.sigmoid())


def mean_over_entities(values: Float[Tensor, "h4 w4"], ids: Tensor) -> dict[int, float]:
    """The mean of a map (brought to the size of ``ids`` ``[h, w]``) over every entity, by its id."""
    values = interpolate(values[None, None], size=ids.shape, mode="bilinear")[0, 0]
    areas = ids.flatten().bincount()
    sums = ids.flatten().bincount(weights=values.flatten().double())
    return {entity: float(sums[entity] / areas[entity]) for entity in range(1, len(areas)) if areas[entity]}


def thing_names(path: str | Path) -> set[str]:
    """The names of things: ``isthing`` in a COCO panoptic json, or a text file with one a line.

    Raises ValueError for a json of another kind.
    """
    text = Path(path).read_text(encoding="utf-8")
    if Path(path).suffix.lower() == ".json":
        try:
            return {category["name"] for category in json.loads(text)["categories"] if category["isthing"]}
        except (ValueError, LookupError, TypeError) as error:
            rule = "--things must be a COCO panoptic json, whose categories say isthing, or a text file"
            raise ValueError(f"{rule}, got {path}: {error!r}.") from error
    return {line.strip() for line in text.splitlines() if line.strip()}
