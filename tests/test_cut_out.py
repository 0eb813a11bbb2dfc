"""What a box holds, cut out by its colours: a minimum cut, and what comes of it on pictures."""

from itertools import product

import numpy as np
import pytest
import torch

from yoeo_core.cut_out import GAMMA, Edges, cut_out, divided, mixture_of


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def disc(height: int, width: int, y: float, x: float, radius: float) -> torch.Tensor:
    down, right = torch.arange(height)[:, None] - y, torch.arange(width) - x
    return down**2 + right**2 < radius**2


def box(height: int, width: int, top: int, bottom: int, left: int, right: int) -> torch.Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def iou(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one & other).sum() / (one | other).sum()).item()


def energy(thing: np.ndarray, inside: np.ndarray, picture: np.ndarray, of_thing: dict, of_outside: dict) -> float:
    """What is cut, pair by pair, and what each pixel costs on its side."""
    height, width = inside.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    pairs = [(p, q) for p in places for q in places if p < q and max(abs(p[0] - q[0]), abs(p[1] - q[1])) == 1]
    difference = {(p, q): float(((picture[p] - picture[q]) ** 2).sum()) for p, q in pairs}
    beta = 1 / (2 * np.mean(list(difference.values())))
    length = {(p, q): np.hypot(p[0] - q[0], p[1] - q[1]) for p, q in pairs}
    cut = sum(GAMMA * np.exp(-beta * difference[pq]) / length[pq] for pq in pairs if thing[pq[0]] != thing[pq[1]])
    return cut + sum(of_thing[p] if thing[p] else of_outside[p] for p in places if inside[p])


@pytest.mark.parametrize("seed", range(3))
def test_a_cut_is_the_best_of_all_divisions(seed: int):
    rng = np.random.default_rng(seed)
    picture, inside = rng.random((4, 5, 3)), np.zeros((4, 5), dtype=bool)
    inside[1:, 1:4] = True
    nodes = [tuple(place) for place in np.argwhere(inside).tolist()]
    of_thing, of_outside = rng.uniform(0, 120, len(nodes)), rng.uniform(0, 120, len(nodes))
    costs = [dict(zip(nodes, each.tolist(), strict=True)) for each in (of_thing, of_outside)]
    cut = Edges.of(picture, inside).cut(of_thing, of_outside)
    least = np.inf
    for labels in product((False, True), repeat=len(nodes)):
        thing = np.zeros_like(inside)
        thing[inside] = labels
        least = min(least, energy(thing, inside, picture, *costs))
    assert not cut[~inside].any()
    assert energy(cut, inside, picture, *costs) == pytest.approx(least, abs=1.0)  # capacities are whole numbers


def test_a_mixtures_cost_is_minus_its_log_density():
    colours = np.concatenate([np.random.default_rng(k).normal(k / 3, 0.05, (200, 3)) for k in range(3)])
    cost = mixture_of(colours).cost(np.array([[0, 0, 0], [1 / 3] * 3, [0.9, 0.1, 0.9]]))
    assert cost[0] == pytest.approx(np.log(3) + 3 * np.log(0.05), abs=0.5) and cost[2] > cost[1] + 20


@pytest.mark.parametrize("size", [(90, 120), (300, 400)], ids=["as it is", "seen smaller"])
def test_a_disc_is_cut_out_of_a_box_around_it(size):
    height, width = size
    thing = disc(height, width, height * 0.5, width * 0.4, height * 0.25)
    picture = 0.4 + 0.1 * noise(height, width)
    picture[:, 0] += 0.3 * thing
    around = box(height, width, height // 5, 4 * height // 5, width // 6, 2 * width // 3)
    found = cut_out(picture, around)
    assert iou(found, thing) > 0.95 and not (found & ~around).any()


def test_a_thing_of_two_colours_one_of_them_of_both_sides():
    thing, picture = box(80, 100, 20, 60, 30, 60), 0.3 + 0.1 * noise(80, 100)
    picture[:, 1, 20:60, 30:60] += 0.4
    picture[:, 2, 20:40, 30:60] += 0.4
    picture[:, 2, :10] += 0.4
    assert iou(cut_out(picture, box(80, 100, 15, 65, 25, 66)), thing) > 0.95


def test_a_thing_that_the_pictures_border_cuts():
    thing, picture = disc(80, 100, 78, 50, 24), 0.3 + 0.1 * noise(80, 100)
    picture[:, 0] += 0.4 * thing
    assert iou(cut_out(picture, box(80, 100, 50, 80, 22, 78)), thing) > 0.95


def test_a_box_around_nothing_holds_nothing_and_one_around_all_holds_all():
    picture, around = 0.3 + 0.1 * noise(80, 100), box(80, 100, 20, 60, 30, 70)
    assert cut_out(picture, around).sum() < 0.05 * around.sum()
    whole = torch.ones(80, 100, dtype=torch.bool)
    assert torch.equal(cut_out(picture, whole), whole)
    assert cut_out(torch.full((1, 3, 80, 100), 0.5), around).sum() in (0, around.sum())


def test_a_division_is_the_same_every_time_and_in_half_precision():
    picture, around = 0.3 + 0.1 * noise(60, 60), box(60, 60, 10, 50, 10, 50)
    picture[:, 0, 20:40, 20:40] += 0.3
    first = cut_out(picture, around)
    assert torch.equal(first, cut_out(picture, around)) and iou(cut_out(picture.half(), around), first) > 0.95


@pytest.mark.parametrize("pixels", [1, 4])
def test_a_box_of_few_pixels_is_no_trouble(pixels: int):
    inside = np.zeros((6, 6), dtype=bool)
    inside[2, 1 : 1 + pixels] = True
    assert divided(np.random.default_rng(0).random((6, 6, 3)), inside).shape == (6, 6)
