"""Any transformers checkpoint that segments pictures, as a function from pictures to their instances."""

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image
from scipy import ndimage

from training.data.annotations import Instance

PARTS = 8  # of a class that a semantic checkpoint finds, so many connected parts count as objects, the largest first

Pipeline = Callable[..., list[dict] | dict]  # transformers' own, for image segmentation or mask generation
Segmenter = Callable[[list[Image.Image]], list[Iterator[Instance]]]  # pictures of one size -> what is in each


def load_segmenter(name: str, device: str, least_score: float) -> Segmenter:
    """A local folder or hub name as a segmenter; the instances it finds below ``least_score`` are left out.

    These checkpoints do not say what is stuff, so all they find counts as things.  Raises ValueError for a checkpoint
    of another kind: a network whose code comes with its weights (BiRefNet, RMBG), or OneFormer, which wants a sentence.
    """
    from transformers import PretrainedConfig, pipeline
    from transformers.models.auto import modeling_auto
    from transformers.utils.logging import set_verbosity_error

    set_verbosity_error()  # else a line a picture on options that we do not use
    masks = set(modeling_auto.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES)
    segments = set().union(
        modeling_auto.MODEL_FOR_IMAGE_SEGMENTATION_MAPPING_NAMES,
        modeling_auto.MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES,
        modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
        modeling_auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES,
    ) - {"oneformer"}
    kind = PretrainedConfig.get_config_dict(name)[0].get("model_type")
    if kind in masks:
        found = pipeline("mask-generation", model=name, device=device)
        return lambda pictures: [generated_masks(found, picture, least_score) for picture in pictures]
    if kind in segments:
        found = pipeline("image-segmentation", model=name, device=device)
        return lambda pictures: segmented(found, pictures, least_score)
    raise ValueError(
        f"a model must be one of transformers' own for image segmentation or mask generation "
        f"({', '.join(sorted(segments | masks))}), got {name} of the kind {kind}."
    )


def segmented(pipeline: Pipeline, pictures: list[Image.Image], least_score: float) -> list[Iterator[Instance]]:
    """What an instance, panoptic or semantic checkpoint finds in pictures that it sees at once."""
    return [instances_of(found) for found in pipeline(pictures, threshold=least_score, batch_size=len(pictures))]


def instances_of(segments: list[dict]) -> Iterator[Instance]:
    """A picture's segments as instances; a semantic class (no score) counts by its parts."""
    for segment in segments:
        mask = np.asarray(segment["mask"]) > 127
        if segment["score"] is None:
            for part in largest_parts(mask):
                yield Instance(part, segment["label"], True, 1.0, False)
        elif mask.any():
            yield Instance(mask, segment["label"], True, float(segment["score"]), False)


def generated_masks(pipeline: Pipeline, picture: Image.Image, least_score: float) -> Iterator[Instance]:
    """What a model of the SAM family finds under its grid of points; its score is the IoU that it predicts.

    One picture at a time: its points are a batch already.
    """
    found = pipeline(picture, pred_iou_thresh=least_score)
    for mask, score in zip(found["masks"], found["scores"].tolist(), strict=True):
        mask = np.asarray(mask, dtype=bool)
        if mask.any():
            yield Instance(mask, "", True, min(1.0, score), False)


def largest_parts(mask: np.ndarray) -> list[np.ndarray]:
    """The largest connected parts of a mask ``[h, w]``, at most ``PARTS`` of them."""
    labels, _ = ndimage.label(mask)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    order = np.argsort(areas)[::-1][:PARTS]
    return [labels == label for label in order if areas[label] > 0]
