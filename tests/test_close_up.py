"""A box is looked at from near by: what a whole picture shows too small for the detector."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from inpainting_core.masks import box_around
from yoeo_core.close_up import entities_near, placed, together, view_around
from yoeo_core.detector import Detections
from yoeo_core.entities import Entities, sure_entities
from yoeo_core.snapping import snap

SIZE = (240, 320)
GRID = 12  # cells of the coarse detector's side


def box(top: int, bottom: int, left: int, right: int) -> Tensor:
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


THING = box(100, 118, 203, 215)  # under one cell of the whole picture, more than one of a view around it
AROUND = box(98, 120, 200, 217)
PICTURE = (0.1 + 0.8 * THING.float()).expand(1, 3, *SIZE)


def coarse(view: Tensor) -> Detections:
    """A detector that knows one thing, the bright cells of a coarse grid."""
    logits = 40 * (adaptive_avg_pool2d(view.mean(1, keepdim=True), GRID) - 0.5)
    return Detections(torch.tensor([[[4.0, 0.0]]]), logits, logits)


def test_a_thing_that_a_whole_picture_shows_too_small_is_found_from_a_box_around_it():
    whole = sure_entities(coarse(PICTURE), 0, SIZE)
    near = entities_near(AROUND[None, None].float(), PICTURE, coarse)
    assert len(whole) == 0 and len(near) == 1
    answer = snap(AROUND[None, None].float(), together(whole, near), torch.full_like(PICTURE, 0.5))
    found = answer.mask[0, 0] == 1
    assert (found & THING).sum() > 0.6 * (found | THING).sum()


@pytest.mark.parametrize(
    "part",
    [box(10, 12, 20, 90), box(0, 240, 0, 320), box(0, 0, 0, 0), box(20, 27, 20, 27), box(30, 31, 40, 41)],
    ids=["a stroke that spans no box", "all of the picture", "nothing", "a dot of the brush", "a pixel"],
)
def test_what_has_no_view_of_its_own_is_not_looked_at(part: Tensor):
    part = part if part.any() and part.all() else part & ~box(0, 11, 60, 320)
    looked = []
    found = entities_near(part[None, None].float(), PICTURE, lambda view: looked.append(view) or coarse(view))
    assert not looked and len(found) == 0 and found.masks.shape == (0, *SIZE)


def test_every_box_and_line_has_a_view_and_a_stroke_none():
    line = box(150, 200, 20, 80) & ~box(155, 195, 25, 75)
    slanted = torch.eye(40, dtype=torch.bool)
    rough = AROUND | line
    rough[190:230, 200:240] |= slanted
    looked = []
    entities_near(rough[None, None].float(), PICTURE, lambda view: looked.append(view) or coarse(view))
    assert len(looked) == 2


@pytest.mark.parametrize("part", [AROUND, box(0, 20, 0, 60), box(200, 240, 290, 320), box(30, 31, 0, 320)])
def test_a_view_holds_its_part_and_stays_in_the_picture(part: Tensor):
    rows, columns = view_around(box_around(part[None, None].float()), SIZE, 1.25)
    assert part[rows, columns].sum() == part.sum()
    assert 0 <= rows.start < rows.stop <= SIZE[0] and 0 <= columns.start < columns.stop <= SIZE[1]
    assert max(rows.stop - rows.start, columns.stop - columns.start) <= SIZE[1]


def test_a_views_entities_lie_where_the_view_was_and_the_surest_of_all_comes_first():
    view = slice(50, 60), slice(70, 90)
    found = Entities(torch.ones(1, 10, 20, dtype=torch.bool), torch.tensor([0.6]))
    there = placed(found, view, SIZE)
    assert torch.equal(there.masks[0], box(50, 60, 70, 90))
    both = together(Entities(AROUND[None], torch.tensor([0.4])), there)
    assert both.scores.tolist() == pytest.approx([0.6, 0.4]) and torch.equal(both.masks[1], AROUND)
