"""Dynamic image synthesis: the pair differs in the hole alone, edges stay soft, copies keep off the object."""

import pytest
import torch

from eradiff_core.synthesis import NoRoom, Pair, Ranges, cut_out, synthesise
from inpainting_core.masks import components, grow
from training.data.pairs import DrawnScenes, Pairs


def disc(size: int, x: float, y: float, radius: float) -> torch.Tensor:
    """A soft-edged disc's alpha, ``[1, size, size]``."""
    rows, columns = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    return (radius + 0.5 - ((rows - y) ** 2 + (columns - x) ** 2).sqrt()).clamp(0, 1)[None]


def scene(size: int = 96) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A grey gradient with a red disc in it."""
    background = torch.linspace(0.2, 0.6, size).expand(3, size, size)
    alpha = disc(size, 24, 30, 10)
    image = torch.tensor([1.0, 0.0, 0.0])[:, None, None] * alpha + background * (1 - alpha)
    return image, alpha, cut_out(image, alpha)


def paste(seed: int, **ranges) -> Pair:
    return synthesise(*scene(), torch.Generator().manual_seed(seed), Ranges(**ranges))


@pytest.mark.parametrize("seed", range(25))
def test_the_pair_differs_nowhere_outside_the_hole_and_somewhere_inside(seed):
    pair = paste(seed)
    changed = (pair.original != pair.with_object).any(0, keepdim=True)
    assert changed.any()
    assert not (changed & (pair.mask == 0)).any()
    assert torch.equal(pair.original, scene()[0]), "the truth is the picture as it came"


def test_the_same_generator_gives_the_same_pair_and_another_one_another():
    one, same, other = paste(5), paste(5), paste(6)
    assert torch.equal(one.with_object, same.with_object) and torch.equal(one.mask, same.mask)
    assert not torch.equal(one.mask, other.mask)


def test_the_hole_reaches_at_least_so_far_beyond_the_copy():
    pair = paste(1, grow_px=(6, 6))
    changed = (pair.original != pair.with_object).any(0, keepdim=True).float()
    assert (grow(changed[None], 5)[0] <= pair.mask).all()


def test_several_copies_are_pasted_apart_from_each_other():
    counts = {
        int(components(paste(seed, copies=(3, 3), grow_px=(0, 0), scale=(0.4, 0.6)).mask[None]).max())
        for seed in range(8)
    }
    assert 3 in counts


def test_copies_keep_off_the_object():
    _, alpha, _ = scene()
    for seed in range(10):
        pair = paste(seed, copies=(1, 1), overlap=0.0)
        changed = (pair.original - pair.with_object).abs().amax(0, keepdim=True)
        assert float((changed * (alpha > 0.99)).max()) < 0.02


def test_edges_stay_soft():
    pair = paste(3, copies=(1, 1), turn_deg=0.0, scale=(1.0, 1.0))
    red = (pair.with_object - pair.original)[0] / (1 - pair.original[0])
    values = red[red > 0]
    assert ((values > 0.1) & (values < 0.9)).float().mean() > 0.05
    assert (values > 0.98).any(), "and its inside is opaque"


def test_scale_and_largest_bound_the_copy():
    small, large = (paste(2, copies=(1, 1), scale=(s, s), grow_px=(0, 0)).mask.sum() for s in (0.5, 1.0))
    assert 0.2 < small / large < 0.35
    capped = paste(2, copies=(1, 1), scale=(4.0, 4.0), largest=0.25, grow_px=(0, 0)).mask
    assert capped[0].any(0).sum() <= 0.25 * 96 + 3


def test_turning_by_a_quarter_turns():
    wide = torch.zeros(4, 4, 16)
    wide[3] = 1
    wide[0] = 1
    image, nothing = torch.zeros(3, 64, 64), torch.zeros(1, 64, 64)
    shapes = set()
    for seed in range(20):
        pair = synthesise(
            image,
            nothing,
            wide,
            torch.Generator().manual_seed(seed),
            Ranges(copies=(1, 1), scale=(1, 1), turn_deg=180, grow_px=(0, 0)),
        )
        shapes.add(bool(pair.mask[0].any(0).sum() > pair.mask[0].any(1).sum()))
    assert shapes == {True, False}


def test_an_object_that_fills_the_picture_has_no_room():
    image, full = torch.rand(3, 32, 32), torch.ones(1, 32, 32)
    with pytest.raises(NoRoom, match="must find 90% of itself free"):
        synthesise(image, full, cut_out(image, full), torch.Generator().manual_seed(0))


def test_an_empty_alpha_is_refused():
    with pytest.raises(ValueError, match="alpha must be above 0 somewhere"):
        cut_out(torch.rand(3, 8, 8), torch.zeros(1, 8, 8))


def test_a_sample_is_a_pure_function_of_seed_and_number(tmp_path):
    from PIL import Image

    Image.effect_noise((90, 70), 50).convert("RGB").save(tmp_path / "a.png")
    one, two = (Pairs(DrawnScenes(tmp_path, 48, 3), 9, seed=3, ranges=Ranges()) for _ in range(2))
    two[2]
    assert all(torch.equal(one[7][key], two[7][key]) for key in one[7])
    assert not torch.equal(one[7]["mask"], one[6]["mask"])


def box_of(mask: torch.Tensor) -> torch.Tensor:
    """1 in the smallest box around a ``[1, h, w]`` mask."""
    rows, columns = mask[0].any(1), mask[0].any(0)
    box = torch.zeros_like(mask)
    box[:, rows.nonzero()[0] : rows.nonzero()[-1] + 1, columns.nonzero()[0] : columns.nonzero()[-1] + 1] = 1
    return box


@pytest.mark.parametrize("seed", range(4))
def test_a_hole_can_be_a_box_or_loose_around_the_same_copy(seed):
    one = {"copies": (1, 1), "grow_px": (2, 2)}
    tight, box = paste(seed, **one), paste(seed, **one | {"grow_px": (0, 0)}, boxes=1.0)
    loose = paste(seed, **one, loose=1.0, loose_by=(0.1, 0.1))
    assert torch.equal(box.with_object, tight.with_object) and torch.equal(loose.with_object, tight.with_object)
    assert torch.equal(box.mask, box_of(box.mask)) and not torch.equal(tight.mask, box_of(tight.mask))
    assert torch.equal(box.mask, box_of(paste(seed, **one | {"grow_px": (0, 0)}).mask))
    assert torch.equal(loose.mask, paste(seed, **one | {"grow_px": (12, 12)}).mask), "2 px and a tenth of 96"


def test_each_copy_has_a_box_of_its_own():
    apart = {"copies": (3, 3), "grow_px": (0, 0), "scale": (0.4, 0.6), "boxes": 1.0}
    assert 3 in {int(components(paste(seed, **apart).mask[None]).max()) for seed in range(8)}


def test_so_many_holes_are_boxes_and_loose_ones():
    outlines = [paste(seed, grow_px=(2, 2)) for seed in range(60)]
    mixed = [paste(seed, grow_px=(2, 2), boxes=0.3, loose=0.3) for seed in range(60)]
    other = sum(not torch.equal(one.mask, two.mask) for one, two in zip(outlines, mixed, strict=True))
    assert 25 <= other <= 47, "60% of 60, within three standard deviations"
