"""The most alike of all known patches: found exactly by codes, and nearly by asking neighbours and chance."""

import pytest
import torch
from references_exemplar import distance, nearest_by_looking, places

from inpainting_core.patches import (
    CODE,
    LIGHT,
    PRICE,
    SIDE,
    Grid,
    basis_of,
    codes_of,
    codes_wanted,
    distances,
    improved,
    nearest,
    price_of,
)

HEIGHT, WIDTH = 34, 30
FREE = torch.zeros((HEIGHT - SIDE + 1) * (WIDTH - SIDE + 1))


def scene(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Waves with a little noise; and a hole, which reaches the right border."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(HEIGHT) / 3, torch.arange(WIDTH) / 4, indexing="ij")
    waves = torch.stack([(x + y).sin(), (x - 2 * y).cos(), x.sin() * y.cos()])[None]
    hole = torch.zeros(1, 1, HEIGHT, WIDTH)
    hole[..., 10:20, 18:] = 1
    picture = 0.5 + 0.2 * waves + 0.01 * torch.randn(1, 3, HEIGHT, WIDTH, generator=generator)
    return picture, hole


def corner(grid: Grid, number: int) -> tuple[int, int]:
    return divmod(int(number), grid.columns)


def energy(picture: torch.Tensor, grid: Grid, field: torch.Tensor) -> float:
    """Of a field: how far its copies are from what they stand for, all pixels counted."""
    pairs = zip(grid.targets, field, strict=True)
    return sum(
        distance(picture[0], corner(grid, target), corner(grid, source), SIDE, LIGHT) for target, source in pairs
    )


def test_the_grid_numbers_the_patches_that_lie_in_the_picture_and_knows_the_untouched():
    _, hole = scene()
    grid = Grid(hole)
    sources, targets = places(hole[0, 0], SIDE)
    assert [corner(grid, n) for n in grid.sources] == sources and [corner(grid, n) for n in grid.targets] == targets
    assert torch.equal(grid.place[grid.targets], torch.arange(len(targets))) and (grid.place[grid.sources] == -1).all()
    at = grid.number(torch.tensor([3, -1, 0, grid.rows]), torch.tensor([4, 0, grid.columns, 0]))
    assert at.tolist() == [3 * grid.columns + 4, -1, -1, -1]
    assert grid.moved(at[:1], -2, 5).tolist() == [grid.columns + 9] and grid.moved(at[:1], -4, 0).tolist() == [-1]


def test_codes_keep_nearly_all_of_a_distance_and_add_nothing_to_it():
    picture, hole = scene()
    grid = Grid(hole)
    codes = codes_of(picture, basis_of(picture, grid))
    assert codes.shape == (grid.rows * grid.columns, CODE)
    assert torch.allclose(codes_wanted(picture, basis_of(picture, grid), grid), codes[grid.targets], atol=1e-5)
    generator = torch.Generator().manual_seed(1)
    field = grid.sources[torch.randint(len(grid.sources), grid.targets.shape, generator=generator)]
    coded = distances(codes[grid.targets], codes, field).sum().item()
    assert 0.9 * energy(picture, grid, field) < coded < energy(picture, grid, field)


def test_the_nearest_by_codes_is_nearly_as_near_as_the_nearest_of_all():
    picture, hole = scene()
    grid = Grid(hole)
    codes = codes_of(picture, basis_of(picture, grid))
    field, distance_found = nearest(codes[grid.targets], codes, grid, FREE)
    slow = nearest_by_looking(picture[0], hole[0, 0], SIDE, LIGHT)
    best = sum(distance(picture[0], target, source, SIDE, LIGHT) for target, source in slow.items())
    assert best <= energy(picture, grid, field) < 1.03 * best
    assert torch.equal(distance_found, distances(codes[grid.targets], codes, field))
    assert grid.known[field].all()


@pytest.mark.parametrize("seed", [0, 1])
def test_passes_from_anywhere_lead_most_of_the_way_and_never_back(seed):
    picture, hole = scene(seed)
    grid = Grid(hole)
    codes = codes_of(picture, basis_of(picture, grid))
    wanted, generator = codes[grid.targets], torch.Generator().manual_seed(seed)
    field = grid.sources[torch.randint(len(grid.sources), grid.targets.shape, generator=generator)]
    before = start = distances(wanted, codes, field)
    for _ in range(6):
        field, after = improved(field, wanted, codes, grid, FREE, generator)
        assert (after <= before).all() and grid.known[field].all()
        before = after
    best = nearest(wanted, codes, grid, FREE)[1].sum()
    assert after.sum() - best < 0.05 * (start.sum() - best)


def test_what_a_neighbour_found_is_passed_on():
    """One target knows where the texture goes on, and the others hear of it, whatever chance shows them."""
    generator = torch.Generator().manual_seed(0)
    tile = torch.rand(1, 3, HEIGHT, 15, generator=generator)
    picture = torch.cat([tile, tile], -1)
    hole = torch.zeros(1, 1, HEIGHT, WIDTH)
    hole[..., 12:20, 20:28] = 1
    grid = Grid(hole)
    codes = codes_of(picture, basis_of(picture, grid))
    field = grid.sources[:1].repeat(len(grid.targets))
    field[40:41] = grid.moved(grid.targets[40:41], 0, -15)
    for _ in range(3):
        field, left = improved(field, codes[grid.targets], codes, grid, FREE, generator)
    assert torch.equal(field, grid.moved(grid.targets, 0, -15)) and not left.any()


def test_a_patch_that_is_dear_is_left_for_the_next_best():
    picture, hole = scene()
    grid = Grid(hole)
    codes = codes_of(picture, basis_of(picture, grid))
    wanted = codes[grid.targets]
    field, _ = nearest(wanted, codes, grid, FREE)
    price = FREE.clone()
    price[field] = 1e3
    others, far = nearest(wanted, codes, grid, price)
    assert not torch.isin(others, field).any() and torch.equal(far, distances(wanted, codes, others))
    moved, _ = improved(field, wanted, codes, grid, price, torch.Generator().manual_seed(0))
    assert (price[moved] == 0).float().mean() > 0.5


def test_a_region_copied_once_is_free_and_each_further_use_of_a_patch_costs_the_same():
    grid = Grid(scene()[1])
    once, far = grid.moved(grid.targets, 0, -14), torch.full(grid.targets.shape, 0.5)
    assert grid.known[once].all() and not price_of(once, far, grid).any()
    middle = grid.number(torch.tensor(4), torch.tensor(6))
    price = price_of(torch.where(torch.arange(len(once)) < 75, middle, once), far, grid)
    assert price[middle] == pytest.approx(PRICE * 0.5 * (75 / SIDE**2 - 1), rel=1e-5)
    assert price[grid.number(torch.tensor(4 + SIDE), torch.tensor(6))] == 0
