"""The detector that YOEO is judged by, at full size with random weights, and terms that reach as far into it."""

from dataclasses import replace

from torch import Tensor, nn

from inpainting_core.shapes import Float
from yoeo_core.detector import SundryDetector
from yoeo_core.preprocessing import PUBLISHED


def swin_tiny_detector(side: int = PUBLISHED.short_side) -> SundryDetector:
    """A Mask2Former on Swin-T with 100 queries and one class, which sees pictures at so many pixels."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    swin = SwinConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
    network = Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=swin, num_labels=1))
    return SundryDetector(network, replace(PUBLISHED, short_side=side))


def judged_terms(detector: SundryDetector, picture: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, ""]]:
    """Terms that reach as far into the detector as L_SS's two and L_EFC do."""
    found = detector(picture)
    return {
        "ss_probability": found.no_object_log_prob.mean(),
        "ss_mask": nn.functional.softplus(found.mask_logits).mean(),
        "efc": nn.functional.normalize(found.features, dim=1).mean(),
    }
