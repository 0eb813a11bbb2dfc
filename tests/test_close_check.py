"""A hole is looked at from near by: what a whole picture shows too small is a sundry all the same."""

import pytest
import torch
from drawn_detections import drawn_hole, scene
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from inpainting_core.built_in import NANO_DETECTOR
from yoeo_core.check import check
from yoeo_core.close_check import MOST_VIEWS, check_closely, views_of
from yoeo_core.detector import Detections, SundryDetector, load_detector
from yoeo_core.judge import judge_by

SIZE = (480, 640)
GRID = 12  # cells of the coarse detector's side


def disc(row: int, column: int, radius: float) -> Tensor:
    return (torch.arange(SIZE[0])[:, None] - row) ** 2 + (torch.arange(SIZE[1]) - column) ** 2 < radius**2


def hole_of(*parts: Tensor) -> Tensor:
    return torch.stack(parts).any(0)[None, None].float()


def picture_with(*things: Tensor) -> Tensor:
    """A grey wall with red things on it."""
    picture = torch.full((1, 3, *SIZE), 0.7)
    for thing in things:
        picture[0, :, thing] = torch.tensor([0.8, 0.1, 0.1])[:, None]
    return picture


def coarse(view: Tensor) -> Detections:
    """A detector of two queries: the red cells of a coarse grid, and what is not red."""
    red = 40 * (adaptive_avg_pool2d(view[:, :1] - view[:, 1:2], GRID) - 0.3)
    logits = torch.cat([red, -red], 1)
    return Detections(torch.tensor([[[4.0, 0.0], [3.0, 0.0]]]), logits, logits)


@pytest.fixture(scope="module")
def nano() -> SundryDetector:
    return load_detector(NANO_DETECTOR)


SMALL, AROUND = disc(200, 300, 8), disc(200, 300, 13)


def test_the_built_in_detector_sees_a_small_thing_in_a_large_picture(nano):
    """It is sure of it by 0.8 or more from near by and by less than 0.1 in the whole picture, where 0.2 decides."""
    picture, hole = picture_with(SMALL), hole_of(AROUND)
    whole = nano(picture)
    assert check(whole, hole)[0].passed
    verdict = check_closely(picture, hole, whole, nano)
    assert not verdict.passed and verdict.sundries.scores[0] > 0.5
    both = (verdict.sundry_mask & SMALL).sum() / (verdict.sundry_mask | SMALL).sum()
    assert both > 0.5 and verdict.area == pytest.approx((verdict.sundry_mask & AROUND).sum() / AROUND.sum())


def test_the_wall_alone_passes_from_near_by_too(nano):
    picture, hole = picture_with(), hole_of(AROUND)
    assert check_closely(picture, hole, nano(picture), nano).passed


def test_candidates_are_judged_from_near_by(nano):
    shares = judge_by(nano)(torch.cat([picture_with(), picture_with(SMALL)]), hole_of(AROUND))
    assert shares[0] == 0 and shares[1] > 0.1


def test_each_hole_is_looked_at_and_a_thing_beside_it_is_no_sundry():
    first, second, beside = disc(60, 60, 8), disc(400, 560, 8), disc(400, 520, 8)
    picture, hole = picture_with(first, second, beside), hole_of(disc(60, 60, 13), disc(400, 560, 13))
    verdict = check_closely(picture, hole, coarse(picture), coarse)
    assert check(coarse(picture), hole)[0].passed and verdict.count == 2
    found = [mask & thing for mask in verdict.sundries.masks for thing in (first, second) if (mask & thing).any()]
    assert len(found) == 2 and not (verdict.sundry_mask & beside).any()


def test_a_thing_that_both_looks_show_counts_once():
    thing, around = disc(200, 300, 60), disc(200, 300, 80)
    picture, hole = picture_with(thing), hole_of(around)
    far, verdict = check(coarse(picture), hole)[0], check_closely(picture, hole, coarse(picture), coarse)
    assert far.count == verdict.count == 1 and len(verdict.others) == len(far.others)


def test_an_entity_that_turns_out_to_be_a_sundry_is_not_listed_twice():
    """In the whole picture its mask is too wide to lie in the hole, from near by it is not."""
    thing, hole = disc(200, 300, 18), hole_of(disc(200, 300, 20))
    masks = torch.stack([disc(200, 300, 24), disc(100, 500, 30)])[:, ::8, ::8]
    logits = 16.0 * masks[None] - 8
    whole = Detections(torch.tensor([[[4.0, 0.0], [3.0, 0.0]]]), logits, logits)
    far, verdict = check(whole, hole)[0], check_closely(picture_with(thing), hole, whole, coarse)
    assert far.passed and len(far.others) == 2
    assert verdict.count == len(verdict.others) == 1 and verdict.others.masks[0, 100, 500]


@pytest.mark.parametrize("sides", [{}, {"ios": 0.6, "score": 0.1}])
def test_without_a_nearer_view_it_is_the_check(sides: dict):
    found, hole = scene(), drawn_hole()
    first = Detections(found.class_logits[:1], found.mask_logits[:1], found.features[:1])
    looked = []
    everywhere = torch.ones_like(hole[:1])
    for one in (everywhere, torch.zeros_like(everywhere)):
        verdict = check_closely(torch.zeros(1, 3, *one.shape[-2:]), one, first, looked.append, **sides)
        expected = check(first, one, **sides)[0]
        assert torch.equal(verdict.sundries.masks, expected.sundries.masks)
        assert verdict.area == pytest.approx(expected.area)
    assert not looked


def test_a_detector_that_sees_every_pixel_looks_once():
    """Its masks are a quarter as large as what it sees."""
    picture, hole, looked = picture_with(SMALL), hole_of(AROUND), []
    for seen, times in (((120, 160), 0), ((120, 159), 1)):
        found = Detections(torch.zeros(1, 1, 2), torch.zeros(1, 1, *seen), torch.zeros(1, 1, *seen))
        check_closely(picture, hole, found, lambda view, found=found: looked.append(view) or found)
        assert len(looked) == times


def test_every_part_is_in_a_view_and_near_ones_share():
    assert len(views_of(hole_of(disc(100, 100, 30), disc(100, 134, 2), disc(300, 500, 10)))) == 2
    specks = torch.zeros(SIZE, dtype=torch.bool)
    specks[::40, ::40] = True
    views = views_of(hole_of(specks))
    seen = torch.zeros_like(specks)
    for rows, columns in views:
        seen[rows, columns] = True
    assert len(views) <= MOST_VIEWS and (not views or seen[specks].all())
    line = torch.zeros(SIZE, dtype=torch.bool)
    line[::40, 100:160:20] = True  # 36 specks, of which wider views hold all
    views = views_of(hole_of(line))
    for rows, columns in views:
        seen[rows, columns] = True
    assert 1 < len(views) <= MOST_VIEWS and seen[line].all()
    assert views_of(hole_of(torch.ones(SIZE, dtype=torch.bool))) == [] == views_of(hole_of(torch.zeros(SIZE).bool()))
