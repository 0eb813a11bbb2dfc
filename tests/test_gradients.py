"""Copies joined by how their pixels differ: exact against a solver, and no step left where two lights meet."""

import pytest
import torch
from references_gradients import NEIGHBOURS, joined_by_solving

from inpainting_core.exemplar import complete
from inpainting_core.gradients import HELD, joined, steps_of


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def hole_of(name: str, height: int = 30, width: int = 34) -> torch.Tensor:
    hole = torch.zeros(1, 1, height, width)
    if name == "one pixel":
        hole[..., 9, 11] = 1
    elif name == "at the frame":
        hole[..., 12:, 20:] = 1
    elif name == "ragged":
        hole[0, 0] = (noise(height, width, 5)[0, 0] < 0.6).float()
    else:
        hole[..., 6:20, 5:31] = 1
        hole[..., 3:27, 12:17] = 1
    return hole


def test_a_step_is_how_much_higher_the_neighbour_is():
    picture = noise(5, 6)
    steps = steps_of(picture)
    for y in range(5):
        for x in range(6):
            for k, (down, across) in enumerate(NEIGHBOURS):
                v, u = y + down, x + across
                there = picture[0, :, v, u] if 0 <= v < 5 and 0 <= u < 6 else picture[0, :, y, x]
                assert torch.equal(steps[k, :, y, x], there - picture[0, :, y, x])


@pytest.mark.parametrize("name", ["one pixel", "at the frame", "ragged", "cross"])
def test_it_is_what_solving_all_equations_gives(name):
    picture, hole = noise(30, 34), hole_of(name)
    steps = torch.cat([noise(30, 34, seed) - 0.5 for seed in range(4)])
    fast, slow = joined(picture, steps, hole), joined_by_solving(picture[0], steps, hole[0, 0], HELD)
    assert torch.equal(fast * (1 - hole), picture * (1 - hole))
    assert (fast[0] - slow).abs().max() < 0.02 * (slow - picture[0]).abs().max()


def test_steps_that_two_pixels_disagree_on_are_met_halfway():
    picture, hole = torch.full((1, 1, 1, 6), 0.5), torch.tensor([[[[0, 1.0, 1, 1, 1, 0]]]])
    steps = steps_of(torch.tensor([[[[0.5, 0.5, 0.5, 0.7, 0.7, 0.7]]]]))
    steps[:2, :, :, 3:] = 0  # only the pixel before the step knows of it
    alone = joined(picture, steps, hole)
    assert alone[0, 0, 0, 3] - alone[0, 0, 0, 2] == pytest.approx(0.1 - 0.1 / 5, abs=0.005)


def test_a_fill_of_another_light_takes_its_surroundings():
    scene, hole = noise(96, 96), torch.zeros(1, 1, 96, 96)
    hole[..., 40:52, 30:42] = 1
    made = joined(scene + 0.2 * hole, steps_of(scene), hole)
    assert (made - scene).abs().max() < 0.02


def test_without_a_hole_nothing_is_changed():
    picture = noise(9, 12)
    assert torch.equal(joined(picture, steps_of(noise(9, 12, 1)), torch.zeros(1, 1, 9, 12)), picture)


def test_where_no_copy_has_the_right_light_none_of_them_is_seen_to_end():
    """A wall that grows lighter across a hole from top to bottom: copies as they are meet in a step (.08)."""
    tile = (noise(8, 8) - 0.5) * 0.1
    wall = torch.linspace(0.2, 0.8, 128) + tile.tile(1, 1, 16, 16)
    hole = torch.zeros(1, 1, 128, 128)
    hole[..., 40:88] = 1
    made = complete(torch.where(hole > 0, 0.5, wall), hole, torch.Generator().manual_seed(0))
    assert ((made - wall) * hole).abs().sum() / (3 * hole.sum()) < 0.05
