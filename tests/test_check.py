"""Verdicts on an erasure: against slow readings of the two rules, and against the metrics themselves."""

import math

import pytest
import torch
from drawn_detections import BEYOND, CROSSING, DOUBTFUL, LOWER, SIZE, SUNDRY, drawn_detections, drawn_hole, scene
from tiny import tiny_detector
from torch import Tensor

from yoeo_core.check import Verdict, check, check_by_metric
from yoeo_core.detector import Detections
from yoeo_core.metrics import mars, msn, panoptic_merge


def enlarged(logits: list[list[float]]) -> Tensor:
    """Bilinear resizing to SIZE, pixel by pixel, with cells' centres half a cell in."""
    rows, columns = len(logits), len(logits[0])
    out = torch.zeros(SIZE, dtype=torch.float64)
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            v = min(max((y + 0.5) * rows / SIZE[0] - 0.5, 0), rows - 1)
            u = min(max((x + 0.5) * columns / SIZE[1] - 0.5, 0), columns - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            above = logits[top][left] * (1 - u + left) + logits[top][right] * (u - left)
            below = logits[bottom][left] * (1 - u + left) + logits[bottom][right] * (u - left)
            out[y, x] = above * (1 - v + top) + below * (v - top)
    return out


def slow_check(found: Detections, hole: Tensor, picture: int, ios: float, score: float) -> tuple[list, list, float]:
    """Sundries and others as (score, mask), the surest first, and the area: one query and one pixel after another."""
    sundries, others = [], []
    for query, logits in enumerate(found.mask_logits[picture].tolist()):
        said = [math.exp(value) for value in found.class_logits[picture, query].tolist()]
        sure = 1 - said[-1] / sum(said)
        inside = whole = 0.0
        for y, row in enumerate(logits):
            for x, value in enumerate(row):
                probability = 1 / (1 + math.exp(-value))
                whole += probability
                inside += probability * float(hole[picture, 0, 4 * y + 2, 4 * x + 2])
        mask = enlarged(logits) > 0
        if sure > score and mask.any():
            (sundries if inside / whole > ios else others).append((sure, mask))
    covered = sum(
        any(mask[y, x] for _, mask in sundries)
        for y in range(SIZE[0])
        for x in range(SIZE[1])
        if hole[picture, 0, y, x]
    )
    by_score = [sorted(group, key=lambda entity: -entity[0]) for group in (sundries, others)]
    return *by_score, covered / max(1, int(hole[picture].sum()))


def assert_holds(verdict: Verdict, sundries: list, others: list, area: float) -> None:
    for got, expected in ((verdict.sundries, sundries), (verdict.others, others)):
        assert len(got) == len(expected) == len(got.masks)
        assert got.scores.tolist() == pytest.approx([score for score, _ in expected])
        assert all(torch.equal(a, b) for a, (_, b) in zip(got.masks, expected, strict=True))
    assert verdict.count == len(sundries) and verdict.passed == (not sundries)
    assert verdict.area == pytest.approx(area, abs=1e-6)


@pytest.mark.parametrize(("ios", "score"), [(0.9, 0.2), (0.6, 0.2), (0.9, 0.01), (0.2, 0.95)])
def test_the_losss_rule_pixel_by_pixel(ios: float, score: float):
    found, hole = scene(3), drawn_hole(aligned=False)
    verdicts = check(found, hole, ios=ios, score=score)
    for picture, verdict in enumerate(verdicts):
        assert_holds(verdict, *slow_check(found, hole, picture, ios, score))


def test_the_drawn_scene_has_the_sundry_that_was_drawn():
    for verdict in check(scene(), drawn_hole()):
        assert not verdict.passed and verdict.count == 1 and len(verdict.others) == 3  # the doubtful one is neither
        assert verdict.area == pytest.approx(verdict.sundry_mask.sum().item() / drawn_hole()[0].sum().item(), abs=0.01)
        top, bottom, left, right = (4 * side for side in SUNDRY)
        assert verdict.sundry_mask[top + 2 : bottom - 2, left + 2 : right - 2].all()
        assert not verdict.sundry_mask[: top - 4].any() and not verdict.sundry_mask[:, right + 4 :].any()


@pytest.mark.parametrize("seed", range(6))
def test_the_metrics_rule_equals_the_metrics(seed: int):
    found, hole = scene(seed), drawn_hole(seed % 2 == 0)
    segments = panoptic_merge(found.class_logits, found.mask_logits, SIZE)
    verdicts = check_by_metric(found, hole)
    assert torch.equal(torch.tensor([float(verdict.count) for verdict in verdicts]), msn(segments, hole))
    assert torch.equal(torch.tensor([verdict.area for verdict in verdicts]), mars(segments, hole))
    for verdict, one in zip(verdicts, segments, strict=True):
        every = torch.cat([verdict.sundries.masks, verdict.others.masks])
        assert len(every) == one.max() and torch.equal(every.any(0), one > 0) and int(every.sum(0).max()) == 1


def test_the_metrics_rule_equals_the_metrics_for_a_real_network():
    image = torch.rand(3, 3, 60, 80, generator=torch.Generator().manual_seed(3))
    hole = torch.zeros(3, 1, 60, 80)
    hole[0, :, 5:55, 5:75], hole[1, :, 20:30, 20:60] = 1, 1
    for seed in range(3):
        found = tiny_detector(seed, queries=12)(image)
        sure = Detections(found.class_logits + torch.tensor([2.0, 0.0]), 3 * found.mask_logits, found.features)
        segments = panoptic_merge(sure.class_logits, sure.mask_logits, (60, 80))
        verdicts = check_by_metric(sure, hole)
        assert segments.any() and [float(verdict.count) for verdict in verdicts] == msn(segments, hole).tolist()
        assert torch.equal(torch.tensor([verdict.area for verdict in verdicts]), mars(segments, hole))


def test_a_segment_has_the_score_of_its_query():
    found = drawn_detections([SUNDRY, BEYOND, LOWER, CROSSING], [True, True, False, True])
    for picture, verdict in enumerate(check_by_metric(found, drawn_hole())):
        score = found.entity_score[picture].tolist()  # the third is not sure enough and no segment
        assert verdict.sundries.scores.tolist() == pytest.approx(score[:1])
        assert verdict.others.scores.tolist() == pytest.approx([score[1], score[3]])
        for (top, bottom, left, right), mask in zip((BEYOND, CROSSING), verdict.others.masks, strict=True):
            assert mask[4 * top : 4 * bottom - 2, 4 * left : 4 * right - 6].float().mean() > 0.8


@pytest.mark.parametrize("rule", [check, check_by_metric])
def test_nothing_is_a_sundry_in_an_empty_hole(rule):
    for verdict in rule(scene(), torch.zeros(2, 1, *SIZE, dtype=torch.float64)):
        assert (verdict.passed, verdict.count, verdict.area) == (True, 0, 0.0) and len(verdict.others)
        assert verdict.sundry_mask.shape == SIZE and not verdict.sundry_mask.any()


@pytest.mark.parametrize("rule", [check, check_by_metric])
def test_a_picture_without_any_entity_passes(rule):
    for verdict in rule(drawn_detections([SUNDRY, DOUBTFUL], [False, False]), drawn_hole()):
        assert (verdict.passed, verdict.count, verdict.area, len(verdict.others)) == (True, 0, 0.0, 0)
        assert verdict.sundry_mask.shape == SIZE and not verdict.sundry_mask.any()


@pytest.mark.parametrize("rule", [check, check_by_metric])
def test_each_picture_is_judged_by_itself(rule):
    found, hole = scene(2), drawn_hole(False)
    for picture, verdict in enumerate(rule(found, hole)):
        parts = (getattr(found, name) for name in ("class_logits", "mask_logits", "features"))
        alone = Detections(*(part[picture : picture + 1] for part in parts))
        (other,) = rule(alone, hole[picture : picture + 1])
        assert verdict.area == other.area and torch.equal(verdict.sundry_mask, other.sundry_mask)
        assert torch.equal(verdict.others.scores, other.others.scores)


def test_a_query_that_shows_nothing_does_not_count():
    found = scene()
    faint = Detections(found.class_logits, torch.where(found.mask_logits > 0, -0.1, -30.0), found.features)
    (verdict, _) = check(faint, torch.ones(2, 1, *SIZE, dtype=torch.float64))
    assert verdict.passed and verdict.area == 0 and len(verdict.others) == 0
