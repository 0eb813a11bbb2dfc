"""CFD and ReMOVE: is a fill like its surroundings?  Both were found to favour blur (PROVE, arXiv 2605.14534)."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from evaluation.scene import Scene
from evaluation.scorer import HIGHER, LOWER, Column, Scorer
from evaluation.weights import folder_of, hash_of
from inpainting_core.masks import Box, bounding_boxes
from inpainting_core.shapes import Float
from yoeo_core.context_features import dinov2_features, sam_masks
from yoeo_core.metrics import cfd

BLUR = "favours blur: read it beside RC-S and the pictures"
MARGIN_PX = 16  # around the hole, of the square that ReMOVE sees

Embed = Callable[[Tensor], Tensor]


def context_deviation(dinov2: Path | None, sam: Path | None, device: str) -> Scorer:
    """CFD as OmniPaint publishes it, tokens as published.  Raises Absent where DINOv2 or SAM was not given."""
    dinov2 = folder_of("--dinov2", dinov2, "facebook/dinov2-giant")
    sam = folder_of("--sam", sam, "facebook/sam-vit-huge")
    features, masks = dinov2_features(dinov2, device, published=True), sam_masks(sam, device)
    made_by = {"network": f"DINOv2, {dinov2.name}; SAM, {sam.name}", "tokens": "as published"}
    made_by["weights"] = f"{hash_of(dinov2)}; {hash_of(sam)}"

    def measure(scene: Scene) -> dict[str, float]:
        return {"cfd": float(cfd(scene.result, scene.mask, features, masks(scene.result), published=True))}

    return Scorer("cfd", {"cfd": Column(LOWER, f"unlike its surroundings; {BLUR}")}, measure, made_by)


def remove_score(sam: Path | None, device: str) -> Scorer:
    """ReMOVE (Chandrasekar et al. 2024), its cropped form.  Raises Absent where SAM was not given."""
    sam = folder_of("--sam", sam, "facebook/sam-vit-huge")
    embed = sam_embedding(sam, device)
    made_by = {"network": f"SAM, {sam.name}", "weights": hash_of(sam), "margin_px": MARGIN_PX}
    columns = {"remove": Column(HIGHER, f"the hole's mean feature is like that around it; {BLUR}")}
    return Scorer("remove", columns, lambda scene: {"remove": remove(scene.result, scene.mask, embed)}, made_by)


def sam_embedding(folder: Path, device: str) -> Embed:
    """A function from a square picture ``[1, 3, s, s]`` in [0, 1] to SAM's embedding ``[1, c, n, n]``."""
    from transformers import SamImageProcessor, SamModel

    network = SamModel.from_pretrained(folder).to(device).eval().requires_grad_(False)
    processor = SamImageProcessor.from_pretrained(folder)

    def embed(image: Float[Tensor, "1 3 s s"]) -> Float[Tensor, "1 c n n"]:
        pixels = (image[0].cpu() * 255).round().to(torch.uint8).numpy()
        inputs = processor(pixels, return_tensors="pt", input_data_format="channels_first")
        return network.get_image_embeddings(inputs["pixel_values"].to(device)).float().cpu()

    return embed


@torch.no_grad()
def remove(image: Float[Tensor, "1 3 h w"], mask: Float[Tensor, "1 1 h w"], embed: Embed) -> float:
    """Cosine of the mean features in the hole and outside it, in a square around the hole.

    A cell is hole where the mask covers it whole; NaN for a hole too thin to cover one, or one that fills the square.
    The published code cuts a square that passes the picture's edge short, so that its mask no longer fits the features;
    here the square is moved into the picture.
    """
    top, left, bottom, right = square_near(bounding_boxes(mask[0, 0].int().cpu())[0], mask.shape[-2:])
    features = embed(image[..., top:bottom, left:right])[0]
    hole = mask[..., top:bottom, left:right].float().cpu()
    covered = F.interpolate(hole, features.shape[-2:], mode="bicubic", antialias=True)[0, 0]
    inside = covered > 1 - 1 / 512  # 255 of 8 bits
    if inside.all() or not inside.any():
        return math.nan
    means = [features[:, cells].mean(1) for cells in (inside, ~inside)]
    return float(F.cosine_similarity(*means, dim=0))


def square_near(box: Box, size: tuple[int, int]) -> Box:
    """The square around a box with a margin, moved into the picture; of the picture's shorter side at most."""
    top, left, bottom, right = box
    side = min(max(bottom - top, right - left) + 2 * MARGIN_PX, *size)
    y, x = (max(0, min(start - MARGIN_PX, length - side)) for start, length in ((top, size[0]), (left, size[1])))
    return y, x, y + side, x + side
