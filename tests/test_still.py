"""Frames of a still camera are copied from the same places, whatever the noise, and other frames are searched anew."""

from dataclasses import replace

import pytest
import torch
from tiny import TINY, tiny_checkpoint, tiny_config

from eradiff_core import pipeline as eradiff
from inpainting_core.engine import DiffusersEngine
from inpainting_core.exemplar import complete
from inpainting_core.still import ALIKE, KEPT, StillCompletion
from yoeo_core import pipeline as yoeo

HOLE = torch.zeros(1, 1, 64, 80)
HOLE[..., 24:40, 30:50] = 1
NEAR = (..., slice(42, 50), slice(36, 44))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(seed: int, height: int = 64, width: int = 80) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=seeded(seed))


def scene(seed: int = 0) -> torch.Tensor:
    """Much that fits about equally well."""
    return 0.25 + 0.5 * noise(seed)


def frames_of(scene: torch.Tensor, count: int, strength: float = 0.02) -> list[torch.Tensor]:
    return [scene + strength * (noise(100 + k, *scene.shape[-2:]) - 0.5) for k in range(count)]


def test_a_first_frame_is_completed_as_it_is_alone_and_known_pixels_stay():
    completion, still = StillCompletion(), seeded(3)
    for view in (scene(), scene(1)):
        alone = seeded(3)
        still.manual_seed(3)
        assert torch.equal(completion(view, HOLE, still).pictures, complete(view, HOLE, alone))
        assert torch.equal(still.get_state(), alone.get_state())


def test_noise_does_not_choose_other_copies():
    first, second = frames_of(scene(), 2)
    searched = complete(second, HOLE, seeded()) - complete(first, HOLE, seeded())
    completion = StillCompletion()
    before, after = (completion(frame, HOLE, seeded()).pictures for frame in (first, second))
    assert torch.equal(after * (1 - HOLE), second * (1 - HOLE))
    noisy = (second - first)[HOLE.expand_as(first) == 0].abs().mean()
    assert (after - before)[HOLE.expand_as(first) > 0].abs().mean() < 1.2 * noisy
    assert searched[HOLE.expand_as(first) > 0].abs().mean() > 3 * noisy


def test_a_change_of_light_goes_into_the_fill():
    completion = StillCompletion()
    before, after = (completion(view, HOLE, seeded()).pictures for view in (scene(), 0.95 * scene()))
    assert torch.allclose(after, 0.95 * before, atol=1e-5)


def test_who_walks_where_a_frame_was_copied_from_does_not_come_into_its_fill():
    view = scene()
    completion = StillCompletion()
    before = completion(view, HOLE, seeded()).pictures
    walked, around = torch.ones_like(view), (..., slice(4, 60), slice(10, 70))
    walked[around] = view[around]
    after = completion(walked, HOLE, seeded()).pictures
    assert torch.allclose(after * HOLE, before * HOLE, atol=1e-5)
    assert torch.equal(after * (1 - HOLE), walked * (1 - HOLE))


def test_what_changes_beside_the_hole_is_searched_anew_and_then_the_first_places_serve_again():
    view, passing = scene(), scene()
    passing[NEAR] = 1
    completion = StillCompletion()
    first, meanwhile, again = (completion(frame, HOLE, seeded()).pictures for frame in (view, passing, view))
    assert torch.equal(first, again) and torch.equal(meanwhile, complete(passing, HOLE, seeded()))


def test_a_frame_that_served_often_outlives_those_that_did_once():
    view, completion = scene(), StillCompletion()
    first, _ = (completion(frame, HOLE, seeded()).pictures for frame in (view, view))
    for passer in range(2 * KEPT):
        passing = view.clone()
        passing[..., 42:50, 20 + 2 * passer : 28 + 2 * passer] = 1
        completion(passing, HOLE, seeded())
    slightly = view + ALIKE / 4
    assert torch.allclose(completion(slightly, HOLE, seeded()).pictures, torch.where(HOLE > 0, first, view) + ALIKE / 4)
    assert [len(kept) for kept in completion.frames.values()] == [KEPT]


def test_another_hole_another_try_and_another_seed_are_searched_by_themselves():
    view, completion = scene(), StillCompletion()
    other, chances, alone = HOLE.roll(9, -1), seeded(), seeded()
    for hole in (HOLE, HOLE, other):  # a second try goes on where the first left its generator
        assert torch.equal(completion(view, hole, chances).pictures, complete(view, hole, alone))
    assert torch.equal(completion(view, other, seeded()).pictures, complete(view, other, seeded()))
    assert torch.equal(completion(view, HOLE, seeded(1)).pictures, complete(view, HOLE, seeded(1)))


@pytest.mark.parametrize("method", [yoeo, eradiff], ids=["YOEO", "EraDiff"])
def test_both_methods_hold_a_still_camera_still(method):
    """Two crops: a frame's fills change as little as what they are made of."""
    engine = DiffusersEngine.of(tiny_checkpoint(replace(tiny_config(vae=TINY), texture="copied")))
    frames, mask = torch.cat(frames_of(0.25 + 0.5 * noise(0, 128, 320), 2)), torch.zeros(1, 128, 320)
    mask[:, 50:70, 30:60] = mask[:, 60:80, 260:290] = 1
    erased = method.erase(engine, frames, mask, steps=1 if method is yoeo else 2, seed=3)
    assert len(erased.crops) == 4
    change = erased.image.diff(dim=0).abs().mean(1)
    for half in (slice(160), slice(160, None)):
        assert change[..., half][mask[..., half] > 0].mean() < 0.012
