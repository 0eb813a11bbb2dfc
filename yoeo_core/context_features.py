"""The networks that CFD looks with: DINOv2 for features, SAM for segments, both through transformers.

The published metric uses ``facebook/dinov2-giant`` and ``facebook/sam-vit-huge``.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.shapes import Bool, Float

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ENLARGED_PX = 256  # what DINOv2's own preprocessing makes of a picture before it crops the middle


def dinov2_features(
    path: str | Path, device: torch.device | str = "cpu", published: bool = False
) -> Callable[[Tensor], Tensor]:
    """A function from pictures in [0, 1], ``[b, 3, 224, 224]``, to DINOv2's last tokens ``[b, 257, c]``, CLS first.

    ``published``: through DINOv2's own preprocessing, as the published CFD has it: the picture is enlarged to 256 and
    its middle 224 are seen, so that a token lies elsewhere than the mask's cell.
    """
    from transformers import Dinov2Model

    network = Dinov2Model.from_pretrained(path).to(device).eval().requires_grad_(False)
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))

    def features(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n c"]:
        image = image.to(device)
        if published:
            side, margin = image.shape[-1], (ENLARGED_PX - image.shape[-1]) // 2
            image = F.interpolate(image, (ENLARGED_PX, ENLARGED_PX), mode="bicubic", antialias=True).clamp(0, 1)
            image = image[..., margin : margin + side, margin : margin + side]
        return network(pixel_values=(image - mean) / std).last_hidden_state

    return features


def sam_masks(
    path: str | Path,
    device: torch.device | str = "cpu",
    points: int = 32,
    least_iou: float = 0.88,
    least_stability: float = 0.95,
) -> Callable[[Tensor], Tensor]:
    """A function from a picture in [0, 1], ``[1, 3, h, w]``, to SAM's masks of everything in it, ``[n, h, w]`` bool.

    ``points`` a side of the grid that SAM is asked at; a mask is kept if SAM's own estimate of its intersection over
    union and its stability reach the thresholds.  The defaults are those of SAM's automatic mask generator.
    """
    from PIL import Image
    from transformers import MaskGenerationPipeline, SamImageProcessor, SamModel

    network = SamModel.from_pretrained(path).to(device).eval().requires_grad_(False)
    everything = MaskGenerationPipeline(
        model=network, image_processor=SamImageProcessor.from_pretrained(path), device=torch.device(device)
    )

    def masks(image: Float[Tensor, "1 3 h w"]) -> Bool[Tensor, "n h w"]:
        pixels = (image[0].permute(1, 2, 0).cpu() * 255).round().to(torch.uint8).numpy()
        found = everything(
            Image.fromarray(pixels),
            points_per_crop=points,
            points_per_batch=points,  # before transformers 5 the last batch is missed unless it is full
            pred_iou_thresh=least_iou,
            stability_score_thresh=least_stability,
        )["masks"]
        empty = torch.zeros(0, *image.shape[-2:], dtype=torch.bool)
        return torch.cat([empty, *(torch.as_tensor(mask)[None].bool().cpu() for mask in found)])

    return masks
