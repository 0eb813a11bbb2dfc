"""The hard shadow under an object: found where one is drawn, and not what only looks a little like one."""

import numpy as np
import pytest
import torch
from torch import Tensor

from inpainting_core.effects import add_effects
from inpainting_core.hard_shadow import hard_shadow_of, level_of
from inpainting_core.surroundings import SECTORS, Surroundings

HEIGHT, WIDTH = 180, 220
GROUND = torch.tensor([0.55, 0.5, 0.45])[:, None, None].expand(3, HEIGHT, WIDTH)
RED = torch.tensor([0.8, 0.2, 0.2])[:, None, None]
GREEN = torch.tensor([0.05, 0.25, 0.05])[:, None, None]


def ellipse(y: float, x: float, tall: float, wide: float) -> Tensor:
    """[1, h, w], 1 within."""
    rows, columns = torch.meshgrid(torch.arange(float(HEIGHT)), torch.arange(float(WIDTH)), indexing="ij")
    return ((((rows - y) / tall) ** 2 + ((columns - x) / wide) ** 2) <= 1).float()[None]


THING = ellipse(80, 110, 32, 32)
UNDER = ellipse(112, 110, 9, 34) * (1 - THING)


def scene(dark: Tensor, light: float | Tensor = 0.2, ground: Tensor = GROUND) -> Tensor:
    """A red thing on a ground of which ``light`` is left where it is dark, or which has that colour there."""
    shaded = ground * (1 - dark) + (ground * light if isinstance(light, float) else light) * dark
    return (shaded * (1 - THING) + RED * THING)[None]


def grain(strength: float) -> Tensor:
    return GROUND * (1 + strength * torch.randn(1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("light", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("ground", [GROUND, grain(0.1)], ids=["flat", "grain"])
def test_a_hard_shadow_under_a_thing_is_found_with_its_rim(light: float, ground: Tensor):
    found = add_effects(scene(UNDER, light, ground.clamp(0, 1)), THING).effect[0]
    assert (found * UNDER).sum() == UNDER.sum()
    assert found.sum() < 2 * UNDER.sum()


def test_all_of_it_is_filled_with_light_ground_then():
    """What the mask alone leaves beside the hole is what a fill is made of."""
    image = scene(UNDER)
    masks = add_effects(image, THING).masks
    assert (image * (1 - masks)).amax((2, 3)).sub(GROUND[:, 0, 0]).abs().max() < 1e-6
    assert torch.where(masks > 0, 1, image).amin() > 0.4


OTHERS = {
    "above it": scene(ellipse(48, 110, 9, 34) * (1 - THING)),
    "beside it": scene(ellipse(80, 146, 20, 9) * (1 - THING)),
    "not touching it": scene(ellipse(126, 110, 6, 30)),
    "too light": scene(UNDER, 0.7),
    "another colour": scene(UNDER, GREEN),
    "goes on out of reach": scene((torch.arange(float(HEIGHT)) > 108)[None, :, None] * (1 - THING)),
    "a thread": scene(ellipse(122, 110, 14, 1.2) * (1 - THING)),
    "a speck": scene(ellipse(113, 110, 2, 2) * (1 - THING)),
}


@pytest.mark.parametrize("which", OTHERS)
def test_what_is_no_hard_shadow_is_left(which: str):
    assert not add_effects(OTHERS[which], THING).effect.any()


def test_before_an_uneven_background_nothing_is_said():
    blocks = torch.rand(1, 1, 20, 24, generator=torch.Generator().manual_seed(1)).round()
    uneven = torch.nn.functional.interpolate(blocks, (HEIGHT, WIDTH))[0]
    assert not add_effects(scene(UNDER, 0.2, GROUND * (0.25 + 0.75 * uneven)), THING).effect.any()


def test_a_shadow_is_no_part_of_another_things_mask():
    other = ellipse(112, 128, 9, 12) * (1 - THING)
    found = add_effects(scene(UNDER * (1 - other)), torch.cat([THING, other]))
    assert found.effect.any() and not (found.effect[0] * other).any()


def test_without_ground_far_out_nothing_is_said():
    dark = np.full((40, 40, 3), 0.02)
    part = np.zeros((40, 40), bool)
    part[5:35, 5:35] = True
    hidden = np.ones_like(part)
    hidden[35:38] = False
    assert not hard_shadow_of(Surroundings.of(dark, part, hidden)).any()


def test_a_stretch_without_ground_has_its_neighbours_level():
    picture, part = np.full((90, 90, 3), 0.5), np.zeros((90, 90), bool)
    part[30:60, 30:60] = True
    here = Surroundings.of(picture, part, part)
    far = here.ground & (here.distance > 9)
    rows = np.broadcast_to(np.arange(90.0)[:, None], far.shape)
    whole = level_of(here, far, rows)
    assert whole.shape == (SECTORS,) and np.ptp(whole) > 30
    half = level_of(here, far & (rows > 45), rows)
    assert np.isfinite(half).all() and half.min() > 45
