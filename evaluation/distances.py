"""Distances of two sets of features: Frechet (FID), kernel (KID) and CMMD.  Features come in batches, rows of float32.

FID and KID are torchmetrics'; it is given features in place of pictures, for they were found before.
"""

import warnings
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from evaluation.scorer import Absent
from inpainting_core.shapes import Float

Batches = Iterable[np.ndarray]  # [n, c] each

SMALL = 2000  # pictures up to which KID is found, over all of them at once
CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0


class Found(nn.Module):
    """Stands where torchmetrics expects a network of pictures: what it is given are features already."""

    def __init__(self, width: int):
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet(results: Batches, references: Batches) -> float:
    """The Frechet distance of two sets, each taken for a Gaussian; memory does not grow with the sets."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = None
    for batches, real in ((results, False), (references, True)):
        for batch in batches:
            metric = metric or FrechetInceptionDistance(feature=Found(batch.shape[1])).set_dtype(torch.float64)
            metric.update(torch.from_numpy(batch), real=real)
    if metric is None or metric.fake_features_num_samples < 2:
        raise Absent("needs two pictures or more.")
    return float(metric.compute())


def kernel(results: Batches, references: Batches) -> float:
    """KID (Binkowski et al. 2018), unbiased, cubic kernel, over the whole of small sets."""
    from torchmetrics.image.kid import KernelInceptionDistance

    one, other = (torch.from_numpy(np.concatenate(list(batches))).double() for batches in (results, references))
    count = min(len(one), len(other))
    if not 2 <= count <= SMALL:
        raise Absent(f"is for 2 to {SMALL} pictures: take FID.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it keeps all features: they are few here
        metric = KernelInceptionDistance(feature=Found(one.shape[1]), subsets=1, subset_size=count)
    metric.update(one, real=False)
    metric.update(other, real=True)
    with torch.random.fork_rng(devices=[]):  # it shuffles; the last digit shall not change from run to run
        torch.manual_seed(0)
        return float(metric.compute()[0])


def cmmd(results: Batches, references: Batches) -> float:
    """CMMD (Jayasumana et al. 2024): Gaussian kernel on CLIP features of length 1, times 1000; every pair counts."""
    one, other = ([torch.from_numpy(batch).double() for batch in batches] for batches in (results, references))
    if not one:
        raise Absent("needs a picture.")
    return CMMD_SCALE * (alike(one, one) + alike(other, other) - 2 * alike(one, other))


def alike(one: list[Float[Tensor, "n c"]], other: list[Float[Tensor, "m c"]]) -> float:
    """The mean of the kernel over all pairs, a block at a time."""
    total = sum(float((-torch.cdist(a, b).square() / (2 * CMMD_SIGMA**2)).exp().sum()) for a in one for b in other)
    return total / (sum(map(len, one)) * sum(map(len, other)))
