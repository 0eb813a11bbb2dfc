"""Pictures with a pasted object and their truth, and what is measured on an erased one."""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from eradiff_core.synthesis import cut_out
from inpainting_core.shapes import Float
from training.data.listing import list_pictures
from training.data.pairs import DrawnScenes, Scene
from training.data.pictures import to_tensor
from training.data.recipe import NANO_RECIPE
from training.held_out.few_steps import hole_psnr
from training.held_out.pairs import object_left

GONE_BELOW = 0.25  # an object is called erased when less than this share of its signal is found in the hole
CROP_PX = 96


def add_pair_flags(parser: argparse.ArgumentParser, pairs: int) -> None:
    """Which pairs are erased, how many of them, and with which seeds."""
    parser.add_argument("--validation", required=True, help="photographs that no training saw")
    parser.add_argument("--cutouts", help="RGBA objects to erase; left out: drawn things, as in training")
    parser.add_argument("--pairs", type=int, default=pairs, help="held-out pairs (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])


class CutoutScenes(DrawnScenes):
    """Views of a folder's photographs, each with the object of an RGBA picture standing in it."""

    def __init__(self, folder: str | Path, size: int, cutouts: str | Path):
        super().__init__(folder, size, 0, NANO_RECIPE)
        self.cutouts = list_pictures(cutouts)

    def __call__(self, rng: np.random.Generator, place: int) -> Scene:
        image = to_tensor(self.view(rng, place))
        with Image.open(self.cutouts[rng.integers(len(self.cutouts))]) as stored:
            side = int(rng.uniform(0.25, 0.6) * self.size)
            rgba = stored.convert("RGBA").copy()
        rgba.thumbnail((side, side), Image.Resampling.LANCZOS)
        thing = torch.from_numpy(np.asarray(rgba, dtype=np.float32) / 255).permute(2, 0, 1)
        cover = torch.zeros(1, self.size, self.size)
        top, left = (int(rng.integers(self.size - length + 1)) for length in thing.shape[1:])
        place = (slice(None), slice(top, top + thing.shape[1]), slice(left, left + thing.shape[2]))
        cover[place] = thing[3:]
        image[place] = thing[3:] * thing[:3] + (1 - thing[3:]) * image[place]
        return image, cover, cut_out(thing[:3], thing[3:])


def box_crops(images: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 3 s s"]:
    """Each picture's hole with a quarter more around it, resized to one size."""
    crops = []
    for image, hole in zip(images, mask, strict=True):
        rows, columns = (hole[0].any(dim).nonzero()[:, 0] for dim in (1, 0))
        y, x = (int(ends[0] + ends[-1]) // 2 for ends in (rows, columns))
        half = max(8, round(0.625 * max(len(rows), len(columns))))
        window = image[None, :, max(0, y - half) : y + half, max(0, x - half) : x + half]
        crops.append(interpolate(window, (CROP_PX, CROP_PX), mode="bilinear", antialias=True)[0])
    return torch.stack(crops)


def frechet_distance(one: Float[Tensor, "n d"], other: Float[Tensor, "m d"]) -> float:
    """The Frechet distance of two sets of features, each taken for a Gaussian (Heusel et al. 2017).

    With few samples in many dimensions the root of the covariances' product is not computed: its trace is the sum of
    the singular values of the two centred sets' product.
    """
    one, other = one.double(), other.double()
    spread, spread_other = ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (one, other))
    both = torch.linalg.svdvals(spread @ spread_other.T).sum()
    apart = (one.mean(0) - other.mean(0)).square().sum()
    return float(apart + spread.square().sum() + spread_other.square().sum() - 2 * both)


@torch.no_grad()
def score(fill: Float[Tensor, "b 3 h w"], pictures: dict[str, Tensor], distance: nn.Module) -> dict[str, float]:
    """Means over the pictures: PSNR and LPIPS in the hole, local Frechet distance, what is left of the object, and the
    share of objects that are gone."""
    original, with_object, mask = pictures["original"], pictures["with_object"], pictures["mask"]
    pasted = original * (1 - mask) + fill * mask
    crops, truth = box_crops(pasted, mask), box_crops(original, mask)
    left = object_left(pasted, original, with_object)
    features = [distance.net(distance.scaling_layer(2 * crop - 1))[-1].mean((2, 3)) for crop in (crops, truth)]
    return {
        "psnr": hole_psnr(fill, original, mask).mean().item(),
        "lpips": distance(2 * crops - 1, 2 * truth - 1).mean().item(),
        "local_fd_x1000": 1000 * frechet_distance(*features),
        "object_left": left.mean().item(),
        "erased": (left < GONE_BELOW).float().mean().item(),
    }
