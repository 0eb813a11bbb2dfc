"""What a network draws where whole entities were, on pictures it has never seen: YOEO's MSN and MARS."""

import torch
from torch import Tensor

from eradiff_core.inpainting.latents import masked_picture
from eradiff_core.inpainting.schedule import Schedule
from eradiff_core.inpainting.shapes import Float
from training.data.encoding import Encoder
from training.held_out.detections import masks_of, outlined
from training.held_out.few_steps import Predict, fill_in_few_steps
from yoeo_core.consistency import timesteps
from yoeo_core.detector import SundryDetector
from yoeo_core.metrics import mars, msn, panoptic_merge


@torch.no_grad()
def look_for_sundries(
    predict: Predict,
    encoder: Encoder,
    detector: SundryDetector,
    prediction: str,
    image: Float[Tensor, "b 3 h w"],
    hole: Float[Tensor, "b 1 h w"],
    batch_size: int = 16,
) -> tuple[list[Tensor], dict[str, float]]:
    """A sheet's rows (picture, hole, two steps with segments outlined) and the mean MSN and MARS.

    The whole decoded picture is judged, as the authors do, not one pasted into the original.
    """
    fills, segments = [], []
    generator = torch.Generator().manual_seed(0)
    for start in range(0, len(image), batch_size):
        pictures = slice(start, start + batch_size)
        encoded = encoder(image[pictures], hole[pictures])
        fills.append(
            encoder.decode(fill_in_few_steps(predict, Schedule(), prediction, encoded, timesteps(2), generator))
        )
        found = detector(fills[-1])
        segments.append(panoptic_merge(found.class_logits, found.mask_logits, image.shape[-2:]).cpu())
    fill, segments = torch.cat(fills).cpu(), torch.cat(segments)
    numbers = {"msn": msn(segments, hole).mean().item(), "mars": mars(segments, hole).mean().item()}
    seen = [outlined(one, masks_of(ids)) for one, ids in zip(fill, segments, strict=True)]
    return [image, masked_picture(image, hole), fill, torch.stack(seen)], numbers
