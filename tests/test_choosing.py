"""Best of several: which candidate is taken, when drawing ends, and that a batch of them is several single runs."""

from dataclasses import replace

import pytest
import torch
from tiny import tiny_checkpoint, tiny_config

from eradiff_core import pipeline as eradiff
from inpainting_core.choosing import LOOKED_AT_PX, Choice, choose, draw_noise, mean_of_draws, neighbourhood, seam_energy
from inpainting_core.engine import DiffusersEngine
from inpainting_core.erasing import erase_holes
from yoeo_core import pipeline as yoeo

HOLE = torch.zeros(1, 1, 64, 64)
HOLE[..., 24:40, 24:40] = 1
GREY = torch.full((1, 3, 64, 64), 0.6)
GREY[..., 0, 0], GREY[..., 0, 1] = 0, 1  # so that every tone is near the range that is seen


def painted(*tones: float):
    """A method whose candidates are the view with these tones in the hole."""

    def fill(view, hole):
        return torch.cat([torch.where(hole > 0, torch.tensor(tone), view) for tone in tones])

    return fill


def dark(filled, hole):
    """A judge that takes the darker half of all tones for something new."""
    return ((filled.mean(1, keepdim=True) < 0.5) * hole).sum((1, 2, 3)) / hole.sum()


def test_the_cleanest_is_taken_and_the_others_follow_in_order():
    chosen = choose(painted(0.2, 0.9, 0.4), GREY, HOLE, Choice(3, dark))
    assert chosen.areas.tolist() == [0, 1, 1] and chosen.tries == 1
    assert chosen.fills[:, 0, 30, 30].tolist() == pytest.approx([0.9, 0.2, 0.4])


def test_alike_for_the_judge_the_seam_decides():
    view = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    noises = [0.3, 0.0, 0.1]

    def fill(view, hole):
        return torch.cat([view + amount * torch.ones_like(view).roll(1) for amount in noises])

    for judge in (None, lambda filled, hole: torch.zeros(len(filled))):
        chosen = choose(fill, view, HOLE, Choice(3, judge))
        assert torch.allclose(chosen.fills[0], view[0], atol=1e-5)
    assert seam_energy(fill(view, HOLE), view, HOLE).tolist() == pytest.approx(noises, abs=1e-6)


def test_it_draws_until_one_is_clean_and_keeps_the_best_of_all():
    view, tones = GREY, [0.1, 0.3, 0.8, 0.9]

    def fill(view, hole):
        return painted(tones.pop(0))(view, hole)

    chosen = choose(fill, view, HOLE, Choice(1, dark, tries=8))
    assert chosen.tries == 3 and chosen.areas.tolist() == [0] and tones == [0.9]

    half = HOLE.clone()
    half[..., 32:] = 0
    left = iter([0.2, 0.1, 0.2])

    def partly(view, hole):
        return torch.where((half if next(left) == 0.1 else HOLE) > 0, torch.tensor(0.1), view)

    chosen = choose(partly, view, HOLE, Choice(1, dark, tries=3))
    assert chosen.tries == 3 and chosen.areas.tolist() == [0.5], "the second of three bad ones was the best"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"candidates": 0}, "candidates must lie in 1..8, got 0."),
        ({"candidates": 9}, "candidates must lie in 1..8, got 9."),
        ({"tries": 0}, "tries must be at least 1, got 0."),
        ({"tries": 2}, "more than one try needs a judge that says when it is clean, got 2 without."),
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong, sentence):
    with pytest.raises(ValueError) as error:
        Choice(**wrong)
    assert str(error.value) == sentence


def test_each_candidate_has_its_own_noise():
    both = draw_noise(torch.Size((1, 4, 8, 8)), Choice(2, seed=5).generators)
    assert torch.equal(both[1:], draw_noise(torch.Size((1, 4, 8, 8)), Choice(1, seed=6).generators))
    assert Choice(2, seed=2**64 - 1).generators[1].initial_seed() == 0, "seeds wrap around"


def test_each_candidates_latent_is_the_mean_of_its_own_draws():
    latents = torch.arange(6.0)[:, None, None, None].expand(6, 4, 2, 2)
    assert mean_of_draws(latents, 3)[:, 0, 0, 0].tolist() == [1.0, 4.0]
    assert torch.equal(mean_of_draws(latents, 1), latents)


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("method", [yoeo, eradiff], ids=["YOEO", "EraDiff"])
def test_a_batch_of_candidates_is_as_many_single_runs(method, draws):
    engine = DiffusersEngine.of(tiny_checkpoint(replace(tiny_config(), draws=draws)))
    generator = torch.Generator().manual_seed(0)
    image, mask = torch.rand(2, 3, 64, 64, generator=generator), HOLE[:, 0]
    together = method.erase(engine, image[:1], mask, steps=2, seed=3, candidates=3)
    alone = torch.cat([method.erase(engine, image[:1], mask, steps=2, seed=seed).image for seed in (3, 4, 5)])
    distances = torch.cdist(together.candidates.flatten(1), alone.flatten(1))
    assert sorted(distances.argmin(1).tolist()) == [0, 1, 2] and distances.amin(1).max() < 1e-3
    assert torch.equal(together.image, together.candidates[:1])
    two = method.erase(engine, image, mask, steps=2, candidates=2)
    assert two.image.shape == (2, 3, 64, 64) and torch.equal(two.image, two.candidates[::2])
    assert two.tries == (1, 1) and two.left == (0.0, 0.0)


def test_an_empty_mask_gives_the_picture_for_every_candidate():
    image = torch.rand(2, 3, 32, 32)
    erased = erase_holes(
        image, torch.zeros(32, 32), painted(0.0), resolution=64, grow_px=5, context=0.5, choice=Choice(candidates=3)
    )
    assert torch.equal(erased.candidates, image.repeat_interleave(3, 0)) and erased.tries == ()


@pytest.mark.parametrize("candidates", [1, 2])
@pytest.mark.parametrize("method", [yoeo, eradiff], ids=["YOEO", "EraDiff"])
def test_a_picture_of_a_batch_is_what_it_is_alone(method, candidates):
    """Equal frames come out equal, and another frame before one makes no difference to it."""
    engine = DiffusersEngine.of(tiny_checkpoint())
    frame, other = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).split(1)
    masks = torch.cat([HOLE, HOLE.roll(10, -1), HOLE])[:, 0]
    batch = method.erase(engine, torch.cat([frame, other, frame]), masks, steps=2, seed=3, candidates=candidates)
    alone = method.erase(engine, frame, HOLE[:, 0], steps=2, seed=3, candidates=candidates)
    for first in (0, 2 * candidates):
        assert torch.equal(batch.candidates[first : first + candidates], alone.candidates)
    assert torch.equal(batch.image[0], batch.image[2])


def test_a_fill_is_compared_with_what_is_near_its_hole_only():
    """The colours of a far corner are no licence for the fill, and nothing but the hole's neighbourhood is matched."""
    view, hole = torch.full((1, 3, 256, 256), 0.5), torch.zeros(1, 1, 256, 256)
    view[..., 200:, 200:] = torch.rand(3, 56, 56)
    hole[..., 20:60, 20:60] = 1
    before = view.clone()
    chosen = choose(lambda view, hole: view, torch.where(hole > 0, torch.rand(1, 3, 256, 256), view), hole, Choice())
    assert torch.equal(chosen.fills[..., :124, :124], torch.full((1, 3, 124, 124), 0.5))
    assert torch.equal(chosen.fills[..., 124:, 124:], view[..., 124:, 124:]) and torch.equal(view, before)


@pytest.mark.parametrize("box", [(0, 0), (0, 1), (30, 250), (255, 256), (0, 256)])
def test_the_neighbourhood_holds_the_hole_with_what_is_around_it(box):
    hole = torch.zeros(1, 1, 256, 192)
    hole[..., box[0] : box[1], 100:101] = 1
    _, rows, columns = neighbourhood(hole)
    if box[0] == box[1]:
        assert hole[..., rows, columns].shape == hole.shape
    else:
        assert rows == slice(max(0, box[0] - LOOKED_AT_PX), box[1] + LOOKED_AT_PX)
        assert columns == slice(100 - LOOKED_AT_PX, 101 + LOOKED_AT_PX)
