"""Cut out what a box holds by its colours, where no detector knows the thing.

What lies outside the box is no part of it.  What lies inside is the thing or more of the outside: whichever the colours
say, and neighbours that look alike belong together.  The best such division is a minimum cut, and the colours of both
sides are learned from it in turn (Rother, Kolmogorov & Blake 2004, GrabCut).
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from scipy.cluster.vq import kmeans, vq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from scipy.special import logsumexp
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.shapes import Bool, Float

SEEN_AT_PX = 160  # the longer side of the window, at most: an outline needs no more, and a cut's time is short
CONTEXT = 0.3  # of the box's sides, seen on each side of it
ROUNDS = 4
COLOURS = 5  # kinds of colour on either side
GAMMA = 50.0  # how much neighbours belong together; the paper's
LEAST = 1e-4  # variance of a kind of colour
UNITS = 20  # of a capacity, which is a whole number
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True, eq=False)
class Mixture:
    """Kinds of colour: means, inverse square roots of their covariances, and the logarithm of each kind's height."""

    means: Float[np.ndarray, "k 3"]
    whitening: Float[np.ndarray, "k 3 3"]
    heights: Float[np.ndarray, "k"]

    def cost(self, colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
        """Minus the logarithm of the density."""
        white = np.einsum("kij,nkj->nki", self.whitening, colours[:, None] - self.means)
        return -logsumexp(self.heights - np.square(white).sum(-1) / 2, axis=1)


def cut_out(picture: Float[Tensor, "1 3 h w"], box: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """What ``box``, 1 in all that may belong to the thing, holds of it; nothing where its colours are the outside's.

    ``picture`` is RGB in [0, 1].  Where the box leaves nothing of the picture outside, all of it is the thing.
    """
    rows, columns = (slice(*_widened(box.any(axis).nonzero().flatten(), box.shape[1 - axis])) for axis in (1, 0))
    view, part = picture[..., rows, columns], box[rows, columns]
    if part.all():
        return box.clone()
    scale = min(1.0, SEEN_AT_PX / max(part.shape))
    size = [max(1, round(length * scale)) for length in part.shape]
    small = F.interpolate(view.float(), size, mode="area")[0].permute(1, 2, 0).cpu().numpy().astype(np.float64)
    inside = F.adaptive_max_pool2d(part[None].float(), size)[0].numpy() > 0
    if inside.all():
        return box.clone()
    thing = torch.from_numpy(divided(small, inside))[None, None].float()
    mask = torch.zeros_like(box)
    mask[rows, columns] = (F.interpolate(thing, part.shape, mode="bilinear")[0, 0] > 0.5) & part
    return mask


def _widened(places: Tensor, length: int) -> tuple[int, int]:
    """Start and stop of an axis with the context around what lies at ``places``."""
    first, last = int(places[0]), int(places[-1]) + 1
    context = ceil(CONTEXT * (last - first))
    return max(0, first - context), min(length, last + context)


def divided(picture: Float[np.ndarray, "h w 3"], inside: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Which of the pixels inside are the thing, after so many rounds of learning colours and cutting."""
    thing, edges = inside.copy(), Edges.of(picture, inside)
    for _ in range(ROUNDS):
        if thing.sum() <= COLOURS or (~thing).sum() <= COLOURS:
            break
        costs = [mixture_of(picture[part]).cost(picture[inside]) for part in (thing, ~thing)]
        thing = edges.cut(*costs)
    return thing


def mixture_of(colours: Float[np.ndarray, "n 3"]) -> Mixture:
    """The kinds of colour of some pixels, found by k-means, which starts at as many steps of brightness."""
    by_brightness = colours[colours.sum(1).argsort()]
    centres, _ = kmeans(colours, by_brightness[np.linspace(0, len(colours) - 1, COLOURS).astype(int)])
    kind, _ = vq(colours, centres)
    kinds = [colours[kind == k] for k in np.unique(kind)]
    covariances = np.stack([np.cov(each, rowvar=False, bias=True) + LEAST * np.eye(3) for each in kinds])
    whitening = np.linalg.inv(np.linalg.cholesky(covariances))
    shares = np.array([len(each) for each in kinds]) / len(colours)
    heights = np.log(shares) - np.linalg.slogdet(covariances)[1] / 2
    return Mixture(np.stack([each.mean(0) for each in kinds]), whitening, heights)


@dataclass(frozen=True, eq=False)
class Edges:
    """The pixels inside as nodes: which are neighbours, how much they belong together, and each to the outside."""

    inside: Bool[np.ndarray, "h w"]
    one: np.ndarray
    other: np.ndarray
    weight: Float[np.ndarray, "e"]
    outwards: Float[np.ndarray, "n"]

    @classmethod
    def of(cls, picture: Float[np.ndarray, "h w 3"], inside: Bool[np.ndarray, "h w"]) -> "Edges":
        number = np.where(inside, np.cumsum(inside).reshape(inside.shape) - 1, -1)
        pairs = [_neighbours(picture, number, *step) for step in NEIGHBOURS]
        one, other, distance, length = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        weight = GAMMA * np.exp(-distance / max(2 * distance.mean(), 1e-12)) / length
        within, outwards = (one >= 0) & (other >= 0), np.zeros(inside.sum())
        for end, beyond in ((one, other), (other, one)):
            at_edge = (end >= 0) & (beyond < 0)
            np.add.at(outwards, end[at_edge], weight[at_edge])
        return cls(inside, one[within], other[within], weight[within], outwards)

    def cut(self, of_thing: Float[np.ndarray, "n"], of_outside: Float[np.ndarray, "n"]) -> Bool[np.ndarray, "h w"]:
        """The pixels that a minimum cut leaves with the thing; the arguments say what each costs on either side."""
        nodes, least = np.arange(len(of_thing)), np.minimum(of_thing, of_outside)
        source, sink = len(nodes), len(nodes) + 1
        first = [self.one, self.other, np.full_like(nodes, source), nodes]
        second = [self.other, self.one, nodes, np.full_like(nodes, sink)]
        capacity = [self.weight, self.weight, of_outside - least, of_thing - least + self.outwards]
        whole = np.concatenate(capacity) * UNITS
        first, second = np.concatenate(first), np.concatenate(second)
        graph = coo_array((whole.round().astype(np.int32), (first, second)), shape=(sink + 1,) * 2).tocsr()
        left = graph - maximum_flow(graph, source, sink).flow
        left.eliminate_zeros()
        reached = breadth_first_order(left, source, return_predecessors=False)
        thing = np.zeros(self.inside.shape, dtype=bool)
        thing[self.inside] = np.isin(nodes, reached)
        return thing


def _neighbours(picture: np.ndarray, number: np.ndarray, down: int, right: int) -> tuple[np.ndarray, ...]:
    """Numbers of all pixels and of their neighbours so far away, -1 outside, their squared difference and distance."""
    height, width = number.shape
    here = slice(0, height - down), slice(max(0, -right), width - max(0, right))
    there = slice(down, height), slice(max(0, right), width + min(0, right))
    distance = np.square(picture[here] - picture[there]).sum(-1).ravel()
    return number[here].ravel(), number[there].ravel(), distance, np.full(distance.shape, np.hypot(down, right))
