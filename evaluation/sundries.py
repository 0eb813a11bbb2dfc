"""MSN and MARS: how many things, and how much of the hole, a detector finds where background was asked for."""

from pathlib import Path

import torch

from evaluation.scene import Scene
from evaluation.scorer import LOWER, Absent, Column, Scorer
from evaluation.weights import hash_of
from inpainting_core.built_in import NANO_DETECTOR
from yoeo_core.detector import load_detector
from yoeo_core.metrics import INSIDE, OBJECT_THRESHOLD, OVERLAP_THRESHOLD, SHARE, mars, msn, panoptic_merge

ENTITYSEG = "CropFormer_model/Entity_Segmentation/Mask2Former_swin_large_w7_3x/Mask2Former_swin_large_w7_3x_dd4543.pth"
MISSING = (
    "needs --detector FILE. Get one: hf download --repo-type dataset qqlu1992/Adobe_EntitySeg "
    f"{ENTITYSEG} --local-dir weights. Or give --detector nano, the small one built in. "
    "The papers' own, on HorNet-L, does not load here."
)


def sundries(given: str | None, device: str) -> Scorer:
    """Raises Absent where no detector was given, ValueError or FileNotFoundError for one that cannot be loaded."""
    if given is None:
        raise Absent(MISSING)
    path = NANO_DETECTOR if given == "nano" else Path(given)
    detector = load_detector(path, device)
    made_by = {
        "network": f"Mask2Former, {path.name}",
        "weights": hash_of(path),
        "score": OBJECT_THRESHOLD,
        "overlap": OVERLAP_THRESHOLD,
        "inside": INSIDE,
        "share": SHARE,
    }

    @torch.no_grad()
    def measure(scene: Scene) -> dict[str, float]:
        found = detector(scene.result.to(device))
        size = tuple(scene.mask.shape[-2:])
        segments = panoptic_merge(found.class_logits.float(), found.mask_logits.float(), size).cpu()
        return {"msn": float(msn(segments, scene.mask)[0]), "mars": float(mars(segments, scene.mask)[0])}

    columns = {
        "msn": Column(LOWER, "things found in the hole, by number"),
        "mars": Column(LOWER, "things found in the hole, by their share of it"),
    }
    return Scorer("sundries", columns, measure, made_by)
