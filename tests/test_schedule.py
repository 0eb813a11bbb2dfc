"""The noise schedule's tables and conversions."""

import pytest
import torch
from diffusers import DDIMScheduler
from references import signal_by_loop

from inpainting_core.schedule import (
    PREDICTIONS,
    Schedule,
    add_noise,
    denoised_from,
    noise_from,
    target_of,
    trailing_timesteps,
)


def test_the_table_equals_its_definition():
    assert torch.allclose(Schedule().signal, torch.tensor(signal_by_loop()), rtol=1e-6, atol=0)


def test_known_values_of_the_table():
    schedule = Schedule()
    assert schedule.signal[[999, 749]].tolist() == pytest.approx([0.00466010, 0.0566235], rel=1e-5)
    assert schedule.sigmas[[999, 749, 499, 249]].tolist() == pytest.approx(
        [14.614641, 4.081729, 1.612886, 0.693205], rel=1e-5
    )


def test_the_nearest_timestep_of_every_sigma_is_its_own():
    schedule = Schedule()
    assert torch.equal(schedule.timestep_of(schedule.sigmas), torch.arange(1000))


@pytest.mark.parametrize("steps", [1, 2, 4, 7, 12, 20, 50, 1000])
def test_trailing_timesteps_equal_diffusers(steps):
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    assert list(trailing_timesteps(steps)) == scheduler.timesteps.tolist()


def test_a_lower_strength_keeps_the_tail_of_the_path():
    assert trailing_timesteps(10, 0.6) == trailing_timesteps(10)[4:]
    assert trailing_timesteps(4, 0.01) == trailing_timesteps(4)[-1:]


@pytest.mark.parametrize(("steps", "strength"), [(0, 1.0), (1001, 1.0), (4, 0.0), (4, 1.5)])
def test_impossible_paths_are_refused(steps, strength):
    with pytest.raises(ValueError, match="steps must|strength must"):
        trailing_timesteps(steps, strength)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_conversions_invert_the_target(prediction):
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 5, 4, 8, 8, generator=generator, dtype=torch.float64)
    signal = Schedule().signal[[0, 100, 499, 749, 999]].double()
    noisy, output = add_noise(clean, noise, signal), target_of(prediction, clean, noise, signal)
    assert torch.allclose(denoised_from(prediction, output, noisy, signal), clean, atol=1e-9)
    assert torch.allclose(noise_from(prediction, output, noisy, signal), noise, atol=1e-9)
