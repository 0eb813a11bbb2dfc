"""Rough masks that become entities: strokes, boxes, outlines, and what hits nothing."""

import random

import pytest
import torch
from torch import Tensor

from yoeo_core.entities import Entities
from yoeo_core.snapping import snap

SIZE = (60, 80)
PLAIN = torch.full((1, 3, *SIZE), 0.5)  # nothing can be cut out of it
CUP, LOGO, SPOON, TABLE = (10, 40, 20, 40), (20, 24, 28, 32), (15, 45, 60, 63), (46, 60, 0, 80)  # top to right


def box(top: int, bottom: int, left: int, right: int) -> Tensor:
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def drawn(*boxes: tuple[int, int, int, int]) -> Entities:
    masks = torch.stack([box(*one) for one in boxes])
    return Entities(masks, torch.linspace(0.95, 0.5, len(boxes)))


def snapped(rough: Tensor, entities: Entities, picture: Tensor = PLAIN) -> tuple[Tensor, tuple]:
    answer = snap(rough[None, None].float(), entities, picture)
    assert answer.cut == (False,) * len(answer.scores) or picture is not PLAIN
    assert answer.mask.shape == (1, 1, *SIZE) and answer.mask.dtype == torch.float32
    return answer.mask[0, 0] == 1, answer.scores


ROOM = drawn(CUP, LOGO, SPOON, TABLE)

MEANT = {
    "a thin stroke in the cup": (box(30, 33, 22, 38), CUP),
    "a stroke that leaves the cup a little": (box(30, 33, 30, 46), CUP),
    "a broad stroke over half of the cup and all of its logo": (box(12, 32, 22, 38), CUP),
    "a loose box around the cup": (box(6, 44, 17, 43), CUP),
    "a loose box around a thin spoon, with some of the table": (box(13, 47, 59, 64), SPOON),
    "a box around the logo": (box(19, 24, 27, 32), LOGO),
    "a dab within the logo": (box(21, 23, 29, 31), LOGO),
    "an outline around the cup": (box(6, 44, 15, 45) & ~box(8, 42, 17, 43), CUP),
    "a stroke along the table": (box(50, 53, 5, 70), TABLE),
}


@pytest.mark.parametrize("case", MEANT)
def test_a_part_becomes_the_whole_entity_that_it_means_and_nothing_else(case: str):
    rough, meant = MEANT[case]
    mask, scores = snapped(rough, ROOM)
    assert torch.equal(mask, box(*meant)) and len(scores) == 1
    assert scores[0] == ROOM.scores[[CUP, LOGO, SPOON, TABLE].index(meant)].item()


@pytest.mark.parametrize("rough", [box(0, 8, 50, 58), box(30, 33, 37, 55), box(0, 9, 0, 80) & ~box(3, 6, 10, 20)])
def test_a_part_that_means_no_entity_stays_as_it_was_painted(rough: Tensor):
    mask, scores = snapped(rough, ROOM)
    assert torch.equal(mask, rough) and scores == (None,)


@pytest.mark.parametrize(
    ("rough", "found"),
    [
        (box(8, 42, 18, 42), [LOGO]),  # the cup itself was not found
        (box(8, 42, 18, 42), [LOGO, (20, 36, 20, 34)]),  # nor is the larger of two pieces half of it
        (box(2, 46, 12, 50), [CUP]),  # far too loose
        (box(8, 52, 52, 74), [SPOON]),
        (box(18, 26, 26, 34), [CUP, LOGO]),  # nor by all that it lies in
        (box(8, 42, 18, 42), [(10, 40, 20, 22)]),  # a sliver as tall as the cup
        (box(8, 42, 18, 42) & ~box(10, 40, 20, 40), [LOGO]),  # its outline
    ],
)
def test_a_box_is_never_replaced_by_what_fills_less_than_half_of_it(rough: Tensor, found: list):
    mask, scores = snapped(rough, drawn(*found))
    assert torch.equal(mask, rough) and scores == (None,)


def test_a_thing_that_is_thin_or_round_fills_a_box_as_far_as_it_reaches():
    plus = box(12, 42, 26, 34) | box(23, 31, 15, 45)  # it covers a third of the box that holds it
    mask, scores = snapped(box(9, 45, 12, 48), Entities(plus[None], torch.tensor([0.9])))
    assert torch.equal(mask, plus) and scores[0] is not None


def still_life(*colours: float) -> Tensor:
    """A cup and a spoon before a wall that is none of their colours, all of them a little uneven."""
    picture = 0.5 + 0.04 * torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    for place, colour in zip((CUP, SPOON), colours, strict=False):
        picture[0, 0, box(*place)] = colour
    return picture


NOTHING = Entities(torch.zeros(0, *SIZE, dtype=torch.bool), torch.zeros(0))


@pytest.mark.parametrize(
    "rough",
    [box(8, 42, 18, 42), box(5, 45, 15, 45), box(6, 44, 15, 45) & ~box(8, 42, 17, 43)],
    ids=["a box", "a looser one", "a line around it"],
)
@pytest.mark.parametrize("found", [NOTHING, drawn(LOGO)], ids=["nothing found", "its logo found"])
def test_what_a_box_or_a_line_holds_is_cut_out_by_its_colours(rough: Tensor, found: Entities):
    answer = snap(rough[None, None].float(), found, still_life(0.9, 0.1))
    assert torch.equal(answer.mask[0, 0] > 0, box(*CUP)) and answer.scores == (None,) and answer.cut == (True,)


@pytest.mark.parametrize("score", [0.9, 0.7])
def test_the_colours_are_asked_unless_the_detector_is_certain(score: float):
    smaller, around = box(12, 38, 22, 38), box(8, 42, 18, 42)
    found = Entities(smaller[None], torch.tensor([score]))
    mask, scores = snapped(around, found, still_life(0.9))
    assert torch.equal(mask, smaller if score > 0.8 else box(*CUP)) and (scores[0] is None) == (score < 0.8)
    mask, scores = snapped(around, found)  # the colours say nothing
    assert torch.equal(mask, smaller) and scores[0] is not None


@pytest.mark.parametrize(
    "rough",
    [
        box(20, 26, 10, 30) & ~box(20, 21, 10, 11),  # a stroke has no corners
        box(8, 42, 18, 42) & ~box(8, 24, 18, 30),  # nor is this one a box
        box(2, 9, 44, 56),  # a box around nothing
        box(2, 58, 2, 78),  # a box around too much
    ],
)
def test_strokes_and_boxes_of_nothing_stay_as_they_were_painted(rough: Tensor):
    answer = snap(rough[None, None].float(), NOTHING, still_life(0.9))
    assert torch.equal(answer.mask[0, 0] > 0, rough) and answer.scores == (None,) and answer.cut == (False,)


def test_every_part_is_taken_by_itself():
    rough = box(30, 33, 22, 38) | box(0, 5, 70, 78) | box(30, 33, 61, 62)
    mask, scores = snapped(rough, ROOM)
    assert torch.equal(mask, box(*CUP) | box(*SPOON) | box(0, 5, 70, 78))
    assert scores == (None, ROOM.scores[0].item(), ROOM.scores[2].item())  # from top to bottom


def test_two_parts_may_mean_the_same():
    mask, scores = snapped(box(12, 14, 22, 38) | box(35, 37, 22, 38), ROOM)
    assert torch.equal(mask, box(*CUP)) and len(set(scores)) == 1 and len(scores) == 2


def test_nothing_painted_and_nothing_found():
    mask, scores = snapped(box(0, 0, 0, 0), ROOM)
    assert not mask.any() and scores == ()
    mask, scores = snapped(box(30, 33, 22, 38), NOTHING)
    assert torch.equal(mask, box(30, 33, 22, 38)) and scores == (None,)


def reach(pixels: set) -> int:
    """The area of the box that just holds them."""
    rows, columns = zip(*pixels, strict=True)
    return (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1)


def slow_choice(part: set, entities: list[set]) -> int | None:
    """The rule itself, on sets of pixels."""
    best, place = 0.0, None
    for i, entity in enumerate(entities):
        of_part, of_entity = len(part & entity) / len(part), len(part & entity) / len(entity)
        if (of_part >= 0.5 or of_entity >= 0.5) and of_part + of_entity > best + 1e-6:
            fills = of_part >= 0.5 or of_part >= 0.25 and reach(part & entity) >= 0.5 * reach(part)
            best, place = of_part + of_entity, i if fills else None
    return place


def test_the_rule_on_many_random_boxes():
    rng, stayed, ended = random.Random(5), 0, 0

    def any_box(least: int) -> tuple[int, int, int, int]:
        top, left = rng.randrange(SIZE[0] - least), rng.randrange(SIZE[1] - least)
        return top, rng.randrange(top + least, SIZE[0] + 1), left, rng.randrange(left + least, SIZE[1] + 1)

    for _ in range(100):
        boxes, painted = [any_box(4) for _ in range(5)], box(*any_box(2))
        pixels = [{tuple(place) for place in box(*one).nonzero().tolist()} for one in boxes]
        chosen = slow_choice({tuple(place) for place in painted.nonzero().tolist()}, pixels)
        found = drawn(*boxes)
        mask, _ = snapped(painted, found)
        expected = painted if chosen is None else box(*boxes[chosen])
        if chosen is not None and found.scores[chosen] < 0.8:
            both = expected & painted
            holds = both.sum() >= 0.5 * expected.sum() and both.sum() < 0.9 * painted.sum()
            expected, ended = (both, ended + 1) if holds else (expected, ended)
        assert torch.equal(mask, expected)
        stayed += chosen is None
    assert 5 < stayed < 80 and ended


def test_a_box_ends_what_the_detector_is_not_certain_of():
    cup_and_its_shade = Entities(box(10, 40, 20, 52)[None], torch.tensor([0.6]))
    around = box(6, 44, 17, 43)
    mask, scores = snapped(around, cup_and_its_shade)
    assert torch.equal(mask, box(10, 40, 20, 43)) and scores == (pytest.approx(0.6),)
    certain = Entities(cup_and_its_shade.masks, torch.tensor([0.9]))
    assert torch.equal(snapped(around, certain)[0], certain.masks[0])
