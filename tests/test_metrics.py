"""MSN and MARS on maps made by hand, and the merge that makes maps of a detector's queries."""

import pytest
import torch
from references_yoeo import panoptic_by_pixel, sundries_by_pixel
from torch.nn import functional as F

from yoeo_core import metrics
from yoeo_core.metrics import mars, msn, panoptic_merge, sundry_segments


def drawn(*rows: str) -> torch.Tensor:
    """A map of segments from rows of digits; a dot is no segment."""
    return torch.tensor([[0 if cell == "." else int(cell) for cell in row] for row in rows])


def boxes(size: int, *given: tuple[int, int, int, int]) -> torch.Tensor:
    """Segments 1, 2, ... as boxes of (top, left, bottom, right)."""
    segments = torch.zeros(size, size, dtype=torch.long)
    for number, (top, left, bottom, right) in enumerate(given, start=1):
        segments[top:bottom, left:right] = number
    return segments


SEGMENTS = drawn(
    "1111....",
    "12222...",
    "12222.3.",
    "1....444",
    "15556666",
)
HOLE = drawn(
    "........",
    ".11111..",
    ".1111.1.",
    ".....11.",
    ".11.....",
).float()


def test_a_sundry_lies_inside_the_hole():
    """Of six segments two lie wholly inside: 8 and 1 of the hole's 14 pixels; others reach out or do not touch it."""
    assert HOLE.sum() == 14
    numbers, covered = sundry_segments(SEGMENTS, HOLE)
    assert numbers.tolist() == [2, 3]
    assert covered.tolist() == pytest.approx([8 / 14, 1 / 14])


def test_both_numbers_are_one_a_picture():
    segments = torch.stack([SEGMENTS, SEGMENTS.where(SEGMENTS == 3, 0), torch.zeros_like(SEGMENTS)])
    hole = HOLE.expand(3, 1, -1, -1)
    assert msn(segments, hole).tolist() == [2, 1, 0]
    assert mars(segments, hole).tolist() == pytest.approx([9 / 14, 1 / 14, 0])


def test_the_thresholds_are_exclusive():
    """A segment of 100 pixels with 95 or 96 in the hole; one of 1 pixel in a hole of 200 or 199."""
    hole = torch.zeros(30, 30)
    hole[:19, :10] = 1
    segments = boxes(30, (0, 0, 20, 5))
    assert len(sundry_segments(segments, hole)[0]) == 0  # 95 of 100
    hole[19, 0] = 1
    assert len(sundry_segments(segments, hole)[0]) == 1  # 96 of 100
    hole = torch.zeros(30, 30)
    hole[:20, :10] = 1
    segments = boxes(30, (0, 0, 1, 1))
    assert len(sundry_segments(segments, hole)[0]) == 0  # 1 of 200
    hole[19, 9] = 0
    assert len(sundry_segments(segments, hole)[0]) == 1  # 1 of 199


def test_the_thresholds_can_be_set():
    hole = torch.zeros(20, 20)
    hole[:10] = 1
    segments = boxes(20, (0, 0, 12, 4), (2, 8, 4, 10))
    assert sundry_segments(segments, hole)[0].tolist() == [2]
    assert sundry_segments(segments, hole, inside=0.8)[0].tolist() == [1, 2]
    assert sundry_segments(segments, hole, share=0.02)[0].tolist() == []


@pytest.mark.parametrize("hole", [torch.zeros(1, 1, 5, 8), torch.ones(1, 1, 5, 8)])
def test_no_hole_holds_nothing_and_a_whole_one_everything(hole):
    everything = float(hole.mean())
    assert msn(SEGMENTS[None], hole).item() == 6 * everything
    assert mars(SEGMENTS[None], hole).item() == pytest.approx((SEGMENTS > 0).float().mean().item() * everything)


@pytest.mark.parametrize("seed", range(5))
def test_sundries_equal_plain_counting(seed):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 20, (8, 2), generator=generator).tolist()
    segments = boxes(24, *[(top, left, top + 4 + seed, left + 4) for top, left in corners])
    hole = boxes(24, (4, 3, 20, 18)).float()
    expected = sundries_by_pixel(segments.tolist(), hole.int().tolist(), 0.8, 0.005)
    numbers, covered = sundry_segments(segments, hole, inside=0.8)
    assert len(numbers) > 0
    assert covered.tolist() == pytest.approx(expected)


def logits_of(scores: list[float]) -> torch.Tensor:
    """Class logits of a detector of one class whose queries are entities with these probabilities."""
    entity = torch.tensor(scores)
    return torch.stack([entity.log(), (1 - entity).log()], -1)


def planes(*maps: torch.Tensor) -> torch.Tensor:
    """Mask logits: +9 where a map is 1, -9 elsewhere."""
    return torch.stack([one.float() * 18 - 9 for one in maps])


def test_queries_are_kept_from_the_object_threshold_on():
    masks = planes(boxes(8, (0, 0, 4, 4)), boxes(8, (0, 4, 4, 8)), boxes(8, (4, 0, 8, 8)))
    merged = panoptic_merge(logits_of([0.9, 0.59, 0.61])[None], masks[None], (8, 8))
    assert torch.equal(merged[0], boxes(8, (0, 0, 4, 4), (4, 0, 8, 8)))
    merged = panoptic_merge(logits_of([0.9, 0.59, 0.61])[None], masks[None], (8, 8), object_threshold=0.95)
    assert merged.eq(0).all()


def test_a_query_that_loses_too_much_to_a_surer_one_is_dropped():
    """The second keeps 5 of its 10 columns, less than 0.6 of them; with 7 it stays, without what it lost."""
    surer, lost, kept = boxes(10, (0, 0, 10, 5)), boxes(10, (0, 0, 10, 10)), boxes(10, (0, 3, 10, 8))
    merged = panoptic_merge(logits_of([0.9, 0.7])[None], planes(surer, lost)[None], (10, 10))
    assert torch.equal(merged[0], surer)
    merged = panoptic_merge(logits_of([0.9, 0.7])[None], planes(surer, kept)[None], (10, 10), overlap_threshold=0.5)
    assert torch.equal(merged[0], boxes(10, (0, 0, 10, 5), (0, 5, 10, 8)))


def test_of_many_classes_the_score_is_that_of_being_anything():
    """Two classes at 0.35 each: no class reaches 0.6, an entity it is all the same."""
    logits = torch.tensor([[0.35, 0.35, 0.3]]).log()
    merged = panoptic_merge(logits[None], planes(boxes(4, (0, 0, 4, 4)))[None], (4, 4))
    assert merged.eq(1).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_merge_equals_its_slow_twin(seed):
    generator = torch.Generator().manual_seed(seed)
    class_logits = torch.randn(2, 12, 2, generator=generator) * 2 + torch.tensor([1.0, 0.0])
    coarse = torch.randn(2, 12, 4, 5, generator=generator) * 6 - 4
    merged = panoptic_merge(class_logits, coarse, (16, 20))
    for picture in range(2):
        masks = F.interpolate(coarse[picture][None], (16, 20), mode="bilinear")[0].sigmoid()
        scores = class_logits[picture].softmax(-1)[:, 0]
        assert torch.equal(merged[picture], panoptic_by_pixel(scores, masks, 0.6, 0.6))
    assert (merged.amax((1, 2)) > 1).all()


def test_the_three_metrics_have_one_address():
    assert all(callable(getattr(metrics, name)) for name in ("msn", "mars", "cfd"))
