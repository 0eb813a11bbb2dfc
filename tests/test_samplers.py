"""Our two samplers against diffusers' schedulers, under shared noise."""

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, LCMScheduler

from eradiff_core.cro import MIXINGS
from eradiff_core.pipeline import Walk
from eradiff_core.sampler import ddim, mixed_start, path
from inpainting_core.choosing import Choice
from inpainting_core.flow import RectifiedFlow, denoised_by
from inpainting_core.schedule import Schedule, trailing_timesteps
from yoeo_core.consistency import boundary_scaling, lcm, timesteps
from yoeo_core.consistency import path as lcm_path

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}


def predict_noise(x, t):
    """The noise of a network that believes in some smooth function of what it sees, of about unit variance."""
    signal = Schedule().signal[t].double()
    believed = (x * (0.7 + t / 3000)).tanh() + 0.1 * x.roll(1, dims=-1)
    return (x - signal.sqrt() * believed) / (1 - signal).sqrt()


def model(x, sigma):
    """The same prediction behind the seam: x0 + sigma noise in, denoised out."""
    t = int(Schedule().timestep_of(sigma)[0])
    sigma = sigma[:, None, None, None]
    return x - sigma * predict_noise(x / (1 + sigma**2).sqrt(), t)


def latent(seed):
    return torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("t", [0, 1, 2, 7, 499])
def test_the_boundary_scaling_equals_the_lcm_schedulers(t):
    """Where it counts: at the timesteps of a run it is the identity to seven digits."""
    ours = boundary_scaling(Schedule().sigmas[t].double(), Schedule())
    theirs = LCMScheduler(**SD).get_scalings_for_boundary_condition_discrete(t)
    assert [float(one) for one in ours] == pytest.approx([float(one) for one in theirs], rel=1e-6, abs=0)


def test_a_yoeo_step_at_no_noise_gives_back_what_it_sees():
    """There c_skip is 1, whatever the network says; in a run it is next to 0."""
    sigmas = torch.tensor([Schedule().sigmas[0], 0.0])
    got = lcm(Choice(2).generators)(lambda x, sigma: torch.zeros_like(x), latent(0).float(), sigmas)
    assert torch.allclose(got, Schedule().shown(latent(0).float(), sigmas[0]))


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_yoeo_steps_equal_the_lcm_scheduler(steps):
    scheduler = LCMScheduler(**SD)
    scheduler.set_timesteps(timesteps=list(timesteps(steps)))
    noise = torch.Generator().manual_seed(7)
    expected = latent(0)
    for t in scheduler.timesteps:
        expected = scheduler.step(predict_noise(expected, int(t)), t, expected, generator=noise).prev_sample

    sigmas = lcm_path(steps).double()
    start = latent(0) * (1 + sigmas[0] ** 2).sqrt()
    generator = torch.Generator().manual_seed(7)  # the scheduler draws for both samples from one
    got = lcm([generator, generator])(model, start, sigmas)
    assert torch.allclose(got, expected, atol=1e-6, rtol=0)


# Where the number of steps does not divide 1000, DDIMScheduler steps to t - 1000 // steps, which is up to one timestep
# beside the next timestep of its own list; ours steps to that one.
@pytest.mark.parametrize(("steps", "tolerance"), [(1, 1e-6), (4, 1e-6), (10, 3e-6), (20, 3e-6), (12, 3e-3)])
def test_eradiff_steps_equal_the_ddim_scheduler(steps, tolerance):
    scheduler = DDIMScheduler(**SD, timestep_spacing="trailing", set_alpha_to_one=True)
    scheduler.set_timesteps(steps)
    sigmas = path(steps).double()
    clean, noise = latent(1), latent(2)
    expected = scheduler.add_noise(clean, noise, scheduler.timesteps[:1])
    for t in scheduler.timesteps:
        expected = scheduler.step(predict_noise(expected, int(t)), t, expected).prev_sample
    assert torch.allclose(ddim(model, clean + sigmas[0] * noise, sigmas), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("steps", [1, 2, 4, 10])
def test_eradiff_steps_on_a_flow_equal_the_euler_scheduler(steps):
    """A state and sigma of the flow in place of ``x0 + sigma noise``; the rule of a step is the same."""
    flow, scheduler = RectifiedFlow(), FlowMatchEulerDiscreteScheduler()

    def velocity(x, s):
        return (x * (0.7 + s / 3)).tanh() - 0.1 * x.roll(1, dims=-1)

    sigmas = flow.sigmas_for(trailing_timesteps(steps)).double()
    scheduler.set_timesteps(sigmas=sigmas[:-1].tolist())
    start = expected = flow.noised(latent(1), latent(2), sigmas[0])
    for t, s in zip(scheduler.timesteps, sigmas[:-1], strict=True):
        expected = scheduler.step(velocity(expected, s), t, expected).prev_sample
    got = ddim(lambda x, s: denoised_by(velocity(x, s[0]), x, s), start, sigmas)
    assert torch.allclose(got, expected.double(), atol=1e-5, rtol=0)


def test_yoeo_steps_on_a_flow_renoise_along_it():
    flow, generators = RectifiedFlow(), Choice(2, seed=7).generators
    sigmas = flow.sigmas_for(timesteps(2))
    got = lcm(generators, flow)(lambda x, s: 0.5 * x, latent(0).float(), sigmas)
    first = 0.5 * latent(0).float()
    noise = torch.cat([torch.randn(1, 4, 6, 8, generator=generator) for generator in Choice(2, seed=7).generators])
    assert torch.allclose(got, 0.5 * ((1 - sigmas[1]) * first + sigmas[1] * noise), atol=1e-6)


def test_yoeo_s_timesteps_are_the_authors():
    assert [timesteps(n) for n in (1, 2, 3, 4)] == [(999,), (999, 749), (999, 749, 499), (999, 749, 499, 249)]
    assert lcm_path().tolist() == lcm_path(2).tolist() == pytest.approx([14.61, 4.08, 0], abs=0.01)
    with pytest.raises(ValueError, match="steps must lie in 1..4, got 5."):
        timesteps(5)


@pytest.mark.parametrize(("strength", "share"), [(1.0, 0.995), (0.8, 0.963), (0.6, 0.84)])
def test_a_mixed_start_is_the_state_that_training_had_there(strength, share):
    """Eq. 6 in the hole with lambda_t of the path's first timestep, and the original elsewhere."""
    original, filled, mask = latent(0), latent(1), (latent(2)[:, :1] > 0).double()
    t = round(1000 * (1 - (12 - round(12 * strength)) / 12)) - 1
    share_t, _ = MIXINGS["schedule"](Schedule().signal[t], Schedule().signal[t])
    expected = torch.where(mask > 0, (1 - share_t) * filled + share_t * original, original)
    started = mixed_start(original, filled, mask, path(12, strength)[0])
    assert torch.allclose(started, expected, atol=1e-6) and float(share_t) == pytest.approx(share, abs=0.02)


def test_a_walk_starts_where_it_can():
    with pytest.raises(ValueError, match="start must be one of .*, got 'noise'."):
        Walk(start="noise")


def test_a_seed_gives_the_same_steps_again():
    sigmas, x = lcm_path(3), latent(3).float()
    one, two, other = (lcm(Choice(2, seed=seed).generators)(model, x, sigmas) for seed in (5, 5, 8))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_callbacks_see_every_step():
    seen = []
    ddim(model, latent(1), path(4).double(), callback=lambda info: seen.append(info["i"]))
    lcm(Choice(2).generators)(model, latent(1).float(), lcm_path(2), callback=lambda info: seen.append(info["i"]))
    assert seen == [0, 1, 2, 3, 0, 1]
