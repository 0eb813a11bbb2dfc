"""What FID, Local FID, KID and CMMD see: features of whole pictures and of the object's box, by published networks.

Two protocols of FID that give other numbers: pytorch-fid's Inception, the one of most tables, and torchvision's, the
one of AttentiveEraser's published evaluation, whose family of tables EraDiff's Local FID belongs to.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from evaluation.distances import cmmd, frechet, kernel
from evaluation.scene import Scene
from evaluation.scorer import LOWER, Absent, Column, Comparison
from evaluation.weights import folder_of, hash_of, published_file
from inpainting_core.masks import Box
from inpainting_core.shapes import Float

SIDE_PX = 512  # of what torchvision's network is shown
PYTORCH_FID, TORCHVISION = "pt_inception-2015-12-05-6726825d.pth", "inception_v3_google-0cc3c7bd.pth"
FEW = "biased below about 2,000 pictures"

Network = Callable[[Tensor], Tensor]  # [1, 3, h, w] in [0, 1] -> [1, c]


def inception(device: str) -> list[Comparison]:
    """FID, KID and Local FID with pytorch-fid's network.  Raises Absent without its package or weights."""
    if find_spec("pytorch_fid") is None:
        raise Absent("needs the package pytorch-fid. Get it: pip install pytorch-fid")
    weights = published_file(PYTORCH_FID)
    from pytorch_fid.inception import InceptionV3

    network = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval().requires_grad_(False).to(device)
    made_by = {"network": "Inception, pytorch-fid, 299 x 299 bilinear", "weights": hash_of(weights)}
    return comparisons("", lambda image: network(image.to(device))[0].flatten(1), made_by)


def inception_of_torchvision(device: str) -> list[Comparison]:
    """FID and Local FID as AttentiveEraser's evaluation has them.  Raises Absent without the weights."""
    weights = published_file(TORCHVISION)
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, transform_input=True, init_weights=False)
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.fc = nn.Identity()
    network.eval().requires_grad_(False).to(device)
    made_by = {"network": f"Inception, torchvision, {SIDE_PX} x {SIDE_PX} bicubic", "weights": hash_of(weights)}
    return comparisons("_torchvision", lambda image: network(square(image).to(device)), made_by)


def comparisons(ending: str, network: Network, made_by: dict) -> list[Comparison]:
    """The whole picture's distances and the box's."""
    whole = {f"fid{ending}": Column(LOWER, f"Frechet distance of whole pictures; {FEW}")}
    local = {f"local_fid{ending}": Column(LOWER, f"Frechet distance of the object's box; {FEW}")}
    kid = {f"kid{ending}": Column(LOWER, "kernel distance of whole pictures, for small sets")}
    local_kid = {f"local_kid{ending}": Column(LOWER, "kernel distance of the object's box, for small sets")}
    return [
        Comparison(
            f"whole{ending}",
            whole | kid,
            lambda scene: row(network(scene.result)),
            {f"fid{ending}": frechet, f"kid{ending}": kernel},
            made_by,
        ),
        Comparison(
            f"box{ending}",
            local | local_kid,
            lambda scene: row(network(square(cut(scene.result, scene.annotated or scene.box)))),
            {f"local_fid{ending}": frechet, f"local_kid{ending}": kernel},
            made_by | {"box": f"annotated, else the mask's, brought to {SIDE_PX} x {SIDE_PX}"},
        ),
    ]


def clip(folder: Path | None, device: str) -> list[Comparison]:
    """CMMD of whole pictures.  Raises Absent where no CLIP was given."""
    folder = folder_of("--clip", folder, "openai/clip-vit-large-patch14-336")
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    network = CLIPVisionModelWithProjection.from_pretrained(folder).eval().requires_grad_(False).to(device)
    processor = CLIPImageProcessor.from_pretrained(folder)
    side = network.config.image_size
    mean, std = (torch.tensor(x)[:, None, None] for x in (processor.image_mean, processor.image_std))

    def seen(scene: Scene) -> np.ndarray:
        image = interpolate(scene.result, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        found = network(pixel_values=((image - mean) / std).to(device)).image_embeds
        return row(found / found.norm(dim=-1, keepdim=True))

    made_by = {"network": f"CLIP, {folder.name}", "weights": hash_of(folder), "side_px": side}
    return [
        Comparison("clip", {"cmmd": Column(LOWER, "CLIP distance of whole pictures")}, seen, {"cmmd": cmmd}, made_by)
    ]


def square(image: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 s s"]:
    return interpolate(image, (SIDE_PX, SIDE_PX), mode="bicubic", antialias=True).clamp(0, 1)


def cut(image: Float[Tensor, "1 3 h w"], box: Box) -> Float[Tensor, "1 3 y x"]:
    top, left, bottom, right = box
    return image[..., top:bottom, left:right]


def row(features: Float[Tensor, "1 c"]) -> np.ndarray:
    return features[0].float().cpu().numpy()
