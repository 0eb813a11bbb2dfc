"""What a network draws where whole entities were, on pictures it has never seen: YOEO's MSN and MARS."""

import torch
from torch import Tensor

from inpainting_core.engine import DiffusersEngine
from inpainting_core.latents import masked_picture
from inpainting_core.shapes import Float
from training.data.encoding import Encoded
from training.held_out.detections import masks_of, outlined
from training.held_out.few_steps import pictures_in_few_steps
from training.held_out.parts import in_parts
from yoeo_core.detector import SundryDetector
from yoeo_core.metrics import mars, msn, panoptic_merge


def segments_of(detector: SundryDetector, image: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
    """``segments``, the panoptic map that MSN and MARS are counted on, ``[b, h, w]``."""
    found = detector(image)
    return {"segments": panoptic_merge(found.class_logits.float(), found.mask_logits.float(), image.shape[-2:])}


def look_for_sundries(
    engine: DiffusersEngine, detector: SundryDetector, pictures: dict[str, Tensor], encoded: Encoded
) -> tuple[list[Tensor], dict[str, float]]:
    """A sheet's rows (picture, hole, two steps with segments outlined) and the mean MSN and MARS.

    The whole decoded picture is judged, as the authors do, not one pasted into the original.
    """
    image, hole = pictures["image"], pictures["mask"]
    fill = pictures_in_few_steps(engine, encoded, 2)
    judged = in_parts(lambda part: segments_of(detector, part["image"].to(engine.device)), {"image": fill})
    segments = judged["segments"]
    numbers = {"msn": msn(segments, hole).mean().item(), "mars": mars(segments, hole).mean().item()}
    seen = [outlined(one, masks_of(ids)) for one, ids in zip(fill, segments, strict=True)]
    return [image, masked_picture(image, hole), fill, torch.stack(seen)], numbers
