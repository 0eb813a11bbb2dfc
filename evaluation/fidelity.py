"""How far a result is from the truth, sample by sample: PSNR and SSIM of the whole picture, the hole and outside."""

import math

import torch
from torch import Tensor

from evaluation.scene import Scene
from evaluation.scorer import HIGHER, Column, Scorer
from inpainting_core.shapes import Float

WINDOW_PX = 11
SAME = 1e-10  # mean squared error that counts as none: 100 dB
WHERE = {"": "the whole picture", "_hole": "the hole", "_outside": "everything but the hole"}


def psnr(result: Float[Tensor, "1 3 h w"], truth: Float[Tensor, "1 3 h w"], region: Float[Tensor, "1 1 h w"]) -> float:
    """Peak signal-to-noise ratio of a region in dB, for RGB in [0, 1]; 100 where the two are the same."""
    squared = ((result - truth).double().square() * region).sum() / (3 * region.sum())
    return float(-10 * squared.clamp_min(SAME).log10())


def ssim_map(result: Float[Tensor, "1 3 h w"], truth: Float[Tensor, "1 3 h w"]) -> tuple[Tensor, Tensor]:
    """SSIM (Wang et al. 2004; 11 x 11 Gaussian of sigma 1.5) of the whole picture, and at every pixel.

    The mean is over every pixel, edges mirrored; scikit-image's and others' leave out 5 px along the edge.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    return structural_similarity_index_measure(result, truth, data_range=1.0, return_full_image=True)


def measure(scene: Scene) -> dict[str, float]:
    """PSNR and SSIM in the three regions; the hole is the mask, and the effect mask where there is one."""
    regions = {"": torch.ones_like(scene.hole), "_hole": scene.hole, "_outside": 1 - scene.hole}
    found = {f"psnr{where}": psnr(scene.result, scene.truth, region) for where, region in regions.items()}
    if min(scene.truth.shape[-2:]) < WINDOW_PX:
        return found | {f"ssim{where}": math.nan for where in WHERE}
    mean, everywhere = ssim_map(scene.result, scene.truth)
    found["ssim"] = float(mean)
    for where in ("_hole", "_outside"):
        found[f"ssim{where}"] = float((everywhere * regions[where]).sum() / (3 * regions[where].sum()))
    return found


def fidelity() -> Scorer:
    """The scorer; its two metrics need no network."""
    columns = {f"psnr{where}": Column(HIGHER, f"dB in {says}; 100 is the same") for where, says in WHERE.items()}
    columns |= {f"ssim{where}": Column(HIGHER, f"structure in {says}; 1 is the same") for where, says in WHERE.items()}
    made_by = {"network": "none", "ssim": "11 x 11 Gaussian of sigma 1.5, edges mirrored, data range 1 (torchmetrics)"}
    return Scorer("fidelity", columns, measure, made_by, needs_truth=True)
