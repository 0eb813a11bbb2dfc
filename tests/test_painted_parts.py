"""What is painted freely, and what the detector is not certain of: it must fit the painting, or that stays."""

import pytest
import torch
from torch import Tensor

from yoeo_core.entities import Entities
from yoeo_core.snapping import is_stroke, snap

SIZE = (60, 80)
PLAIN = torch.full((1, 3, *SIZE), 0.5)  # nothing can be cut out of it
DOWN, ACROSS = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")


def box(top: int, bottom: int, left: int, right: int) -> Tensor:
    return (DOWN >= top) & (DOWN < bottom) & (ACROSS >= left) & (ACROSS < right)


CUP, ROOM, FLOOR = box(10, 40, 20, 40), box(0, 60, 0, 80), box(24, 60, 0, 80)
CROSS = box(10, 41, 20, 51) & (((DOWN - ACROSS + 10).abs() <= 1) | ((DOWN + ACROSS - 60).abs() <= 1))
ALL_OVER = (DOWN - 25) ** 2 + (ACROSS - 30) ** 2 <= 144


def snapped(rough: Tensor, thing: Tensor, score: float) -> Tensor:
    return snap(rough[None, None].float(), Entities(thing[None], torch.tensor([score])), PLAIN).mask[0, 0] == 1


@pytest.mark.parametrize(
    ("rough", "misfit"),
    [(CROSS, ROOM), (ALL_OVER, FLOOR), (ALL_OVER, ROOM)],
    ids=["a cross, and the room", "painted all over, and the floor that half of it is on", "painted all over, and all"],
)
def test_what_is_painted_stays_where_an_uncertain_thing_does_not_fit_it(rough: Tensor, misfit: Tensor):
    assert torch.equal(snapped(rough, misfit, 0.5), rough)
    assert torch.equal(snapped(rough, misfit, 0.9), misfit), "the detector is certain"


@pytest.mark.parametrize(
    ("rough", "fit"),
    [(CROSS, CUP), (ALL_OVER, CUP), (ALL_OVER, box(13, 38, 18, 43)), (ALL_OVER & (ACROSS < 30), CUP)],
    ids=["a cross", "painted all over", "painted exactly", "half of it"],
)
def test_it_becomes_an_uncertain_thing_that_fits(rough: Tensor, fit: Tensor):
    assert torch.equal(snapped(rough, fit, 0.5), fit)


def test_a_line_of_the_brush_is_a_stroke_and_what_is_painted_all_over_is_none():
    assert is_stroke(CROSS) and is_stroke((DOWN - ACROSS).abs() <= 4)
    assert not is_stroke(ALL_OVER) and not is_stroke(CUP)
