"""Chain-Rectifying Optimization: the closed form against the literal jump, its tables, its limits and its gradients."""

import pytest
import torch
from references import literal_chain_loss, literal_flow_loss

from benchmarks.ideal_chain import object_left_at_the_end
from eradiff_core.cro import (
    MIXINGS,
    cro_loss,
    draw_jump,
    mix,
    pixel_cro_loss,
    signals,
    target_shift,
)
from inpainting_core.flow import RectifiedFlow, denoised_by
from inpainting_core.schedule import Schedule

SCHEDULE, FLOW = Schedule(), RectifiedFlow()
EVERY_GAMMA = torch.arange(1, 101)


def whole_grid(schedule=SCHEDULE) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture's share of the variance before and after every jump: t in 0..999, gamma in 1..100."""
    t = torch.arange(1000).repeat_interleave(100)
    return signals(t, EVERY_GAMMA.repeat(1000), schedule)


def toy(seed: int = 0, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(3, batch, 2, 3, 3, generator=generator, dtype=torch.float64))


def network(noisy: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Any fixed function of the input."""
    return torch.sin(3 * noisy) + 0.1


def test_the_closed_form_is_the_literal_jump():
    original, with_object, noise = toy()
    for t in (0, 1, 50, 99, 100, 101, 500, 999):
        one, other, eps = (z.expand(100, -1, -1, -1) for z in (original, with_object, noise))
        ours = cro_loss(network, one, other, eps, torch.full((100,), t), EVERY_GAMMA, SCHEDULE)
        literal = [
            literal_chain_loss(network, original, with_object, noise, t, gamma, SCHEDULE.signal.double())
            for gamma in EVERY_GAMMA.tolist()
        ]
        assert (ours - torch.stack(literal)).abs().max() < 1e-12


def test_w_and_kappa_turn_the_literal_jump_into_noise_prediction_over_the_whole_grid():
    """The same identity without a network: for random numbers, all 100,000 jumps at once."""
    before, after = whole_grid()
    original, thing, noise, predicted = torch.randn(
        4, len(before), generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    mixed = [abar.sqrt() * mix(original, thing, 1 - abar) + (1 - abar).sqrt() * noise for abar in (before, after)]
    denoised = (mixed[0] - (1 - before).sqrt() * predicted) / before.sqrt()
    literal = mixed[1] - after.sqrt() * denoised - (1 - after).sqrt() * predicted
    target = noise + target_shift(before, after, SCHEDULE) * (thing - original)
    ours = SCHEDULE.jump_weight(before, after) * (predicted - target).square()
    assert (ours - literal.square()).abs().max() < 1e-12


def test_gradients_are_those_of_the_literal_jump():
    original, with_object, noise = toy(2)
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    losses = [
        cro_loss(
            lambda x, t: scale * x, original, with_object, noise, torch.tensor([400]), torch.tensor([70]), SCHEDULE
        ),
        literal_chain_loss(lambda x, t: scale * x, original, with_object, noise, 400, 70, SCHEDULE.signal.double()),
    ]
    ours, literal = (torch.autograd.grad(loss.sum(), scale)[0] for loss in losses)
    assert torch.allclose(ours, literal, rtol=1e-10)
    assert literal.abs() > 1e-6


LAMBDA = {0: 0.00085, 100: 0.106, 200: 0.246, 300: 0.409, 400: 0.576, 500: 0.724, 600: 0.839, 700: 0.917, 999: 0.9953}
KAPPA_50 = {100: 0.485, 200: 0.641, 300: 0.608, 400: 0.463, 500: 0.287, 600: 0.145, 700: 0.059, 800: 0.019, 900: 0.005}
WEIGHT = {
    (200, 1): 4.3e-6, (200, 20): 1.7e-3, (200, 50): 1.1e-2, (200, 100): 4.6e-2,
    (500, 1): 8.1e-6, (500, 20): 3.3e-3, (500, 50): 2.1e-2, (500, 100): 8.7e-2,
    (900, 1): 2.7e-5, (900, 20): 1.2e-2, (900, 50): 8.2e-2, (900, 100): 3.9e-1,
}  # fmt: skip


def test_the_published_schedule_gives_these_tables():
    t = torch.tensor(list(LAMBDA))
    share, _ = MIXINGS["schedule"](*signals(t, torch.ones_like(t), SCHEDULE))
    assert share.tolist() == pytest.approx(list(LAMBDA.values()), rel=4e-3)
    t = torch.tensor(list(KAPPA_50))
    assert target_shift(*signals(t, torch.full_like(t, 50), SCHEDULE), SCHEDULE).tolist() == pytest.approx(
        list(KAPPA_50.values()), abs=6e-4
    )
    t, gamma = torch.tensor(list(WEIGHT)).unbind(1)
    assert SCHEDULE.jump_weight(*signals(t, gamma, SCHEDULE)).tolist() == pytest.approx(list(WEIGHT.values()), rel=0.04)


def test_the_mean_weight_is_a_twentieth_and_most_of_it_lies_where_the_noise_is():
    weight = SCHEDULE.jump_weight(*whole_grid()).reshape(10, -1).mean(1)
    assert float(weight.mean()) == pytest.approx(0.050, abs=6e-4)
    assert weight.tolist() == pytest.approx(
        [0.024, 0.017, 0.016, 0.019, 0.025, 0.034, 0.048, 0.069, 0.1, 0.146], abs=6e-4
    )


def test_the_shift_stays_below_0_65_with_the_schedule():
    shift = target_shift(*whole_grid(), SCHEDULE)
    assert shift.isfinite().all()
    assert 0.64 < shift.max() < 0.65
    assert shift.min() > 0


def test_the_shift_grows_without_bound_where_the_share_is_constant():
    finer = [Schedule(beta_start=0.00085 / n, beta_end=0.012 / n, steps=1000) for n in (1, 10, 100)]
    one = torch.tensor([1])
    largest = [float(target_shift(*signals(one, one, schedule), schedule, "constant")) for schedule in finer]
    assert largest[0] > 50
    assert largest[1] > 2 * largest[0]
    assert largest[2] > 2 * largest[1]
    gaps = torch.tensor([1e-2, 1e-4, 1e-6], dtype=torch.float64)
    before = torch.full_like(gaps, 0.5)
    assert (target_shift(before, before + gaps, SCHEDULE, "constant") * gaps > 0.4).all()
    assert (target_shift(before, before + gaps, SCHEDULE, "schedule") < 0.65).all()


def test_a_jump_past_the_first_timestep_ends_at_the_clean_original():
    t, gamma = torch.tensor([0, 3, 99, 99]), torch.tensor([1, 100, 100, 99])
    _, after = signals(t, gamma, SCHEDULE)
    assert after.tolist() == [1, 1, 1, float(SCHEDULE.signal[0])]


def test_mixing_nothing_is_weighted_noise_prediction_on_the_original():
    original, with_object, noise = toy(3, batch=2)
    t, gamma = torch.tensor([100, 900]), torch.tensor([30, 60])
    ours = cro_loss(network, original, with_object, noise, t, gamma, SCHEDULE, "none")
    signal = SCHEDULE.signal.double()[t][:, None, None, None]
    noisy = signal.sqrt() * original + (1 - signal).sqrt() * noise
    plain = (network(noisy, t) - noise).square().flatten(1).mean(1)
    assert torch.allclose(ours, SCHEDULE.jump_weight(*signals(t, gamma, SCHEDULE)) * plain)


@pytest.mark.parametrize("mixing", MIXINGS)
def test_mixing_pixels_under_a_linear_autoencoder_is_mixing_latents(mixing):
    pictures = torch.randn(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    noise, t, gamma = (
        toy(4, batch=2)[2].repeat(1, 1, 2, 2)[..., :4, :4],
        torch.tensor([150, 700]),
        torch.tensor([1, 100]),
    )

    def encode(picture):
        return 0.3 * picture[:, :2, ::2, ::2]

    pixels = pixel_cro_loss(network, encode, *pictures, noise, t, gamma, SCHEDULE, mixing)
    latents = cro_loss(network, *map(encode, pictures), noise, t, gamma, SCHEDULE, mixing)
    assert torch.allclose(pixels, latents, rtol=1e-9)


def test_importance_weighs_place_by_place():
    original, with_object, noise = toy(5)
    t, gamma = torch.tensor([500]), torch.tensor([50])
    corner = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    corner[..., 0, 0] = 9
    whole = cro_loss(network, original, with_object, noise, t, gamma, SCHEDULE, importance=torch.ones_like(corner))
    assert torch.equal(whole, cro_loss(network, original, with_object, noise, t, gamma, SCHEDULE))
    one = [z[..., :1, :1] for z in (original, with_object, noise)]
    expected = cro_loss(network, *one, t, gamma, SCHEDULE)
    assert torch.allclose(
        cro_loss(network, original, with_object, noise, t, gamma, SCHEDULE, importance=corner), expected
    )


def test_jumps_are_uniform_and_tight_around_a_samplers_stride_where_asked():
    generator = torch.Generator().manual_seed(0)
    t, gamma = torch.tensor([draw_jump(generator) for _ in range(4000)]).unbind(1)
    assert (t.min(), t.max()) == (0, 999) and abs(float(t.float().mean()) - 499.5) < 20
    assert gamma.unique().numel() == 100 and (gamma.min(), gamma.max()) == (1, 100)
    _, tight = torch.tensor([draw_jump(generator, sampler_steps=10) for _ in range(500)]).unbind(1)
    assert (tight.min(), tight.max()) == (90, 110)
    assert draw_jump(generator, sampler_steps=1000)[1] == 1, "the shortest stride there is"


IDEAL = {1: 0.977, 2: 0.481, 4: 0.152, 8: 0.022, 10: 0.007, 12: -0.001, 20: -0.042, 50: -0.079, 100: -0.092}


def test_an_ideal_network_leaves_this_much_of_the_object():
    assert [object_left_at_the_end(steps) for steps in IDEAL] == pytest.approx(list(IDEAL.values()), abs=6e-4)
    assert object_left_at_the_end(50, gamma_max=20) == pytest.approx(0.001, abs=6e-4)
    flow = {2: 0.431, 8: 0.096, 12: 0.016, 15: -0.022, 50: -0.153}
    assert [object_left_at_the_end(n, schedule=FLOW) for n in flow] == pytest.approx(list(flow.values()), abs=6e-4)


# rectified flow


def test_the_flow_s_closed_form_is_the_literal_jump_in_values_and_gradients():
    original, with_object, noise = toy()
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for t in (0, 1, 50, 99, 100, 101, 500, 998, 999):
        one, other, eps = (z.expand(100, -1, -1, -1) for z in (original, with_object, noise))
        ours = cro_loss(lambda x, t: scale * network(x, t), one, other, eps, torch.full((100,), t), EVERY_GAMMA, FLOW)
        literal = torch.stack(
            [
                literal_flow_loss(lambda x, t: scale * network(x, t), original, with_object, noise, t, gamma)
                for gamma in EVERY_GAMMA.tolist()
            ]
        )
        assert (ours - literal).abs().max() < 1e-12
        gradients = [torch.autograd.grad(loss.sum(), scale)[0] for loss in (ours, literal)]
        assert torch.allclose(*gradients, rtol=1e-10, atol=1e-14)


def test_the_flow_s_jumps_are_velocity_prediction_over_the_whole_grid():
    before, after = whole_grid(FLOW)
    original, thing, noise, velocity = torch.randn(
        4, len(before), generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    t = torch.arange(1000).repeat_interleave(100).double()
    s, u = (t + 1) / 1000, (t + 1 - EVERY_GAMMA.repeat(1000)).clamp_min(0) / 1000
    share = [level**2 / ((1 - level) ** 2 + level**2) for level in (s, u)]
    clean = [mix(original, thing, one) for one in share]
    literal = (1 - u) * clean[1] + u * noise - ((1 - s) * clean[0] + s * noise + (u - s) * velocity)
    target = FLOW.learned(clean[0], noise) + target_shift(before, after, FLOW) * (thing - original)
    ours = FLOW.jump_weight(before, after) * (velocity - target).square()
    assert (ours - literal.square()).abs().max() < 1e-12


def test_the_flow_s_shift_stays_below_one_and_vanishes_at_both_ends():
    shift = target_shift(*whole_grid(FLOW), FLOW).reshape(1000, 100)
    assert shift.isfinite().all() and shift.min() >= 0 and shift.max() < 1.5
    assert shift[-1, 0] < 0.01 and shift[0, 0] < 0.01


@pytest.mark.parametrize("mixing", MIXINGS)
def test_mixing_pixels_under_a_linear_autoencoder_is_mixing_latents_on_a_flow_too(mixing):
    pictures = torch.randn(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    noise, t, gamma = torch.randn(2, 2, 4, 4, dtype=torch.float64), torch.tensor([150, 999]), torch.tensor([1, 100])

    def encode(picture):
        return 0.3 * picture[:, :2, ::2, ::2]

    pixels = pixel_cro_loss(network, encode, *pictures, noise, t, gamma, FLOW, mixing)
    assert torch.allclose(pixels, cro_loss(network, *map(encode, pictures), noise, t, gamma, FLOW, mixing), rtol=1e-9)


def test_the_flow_s_conversions_are_inverse():
    original, _, noise = toy(batch=3)
    t = torch.tensor([0, 400, 999])
    noisy = FLOW.add_noise(original, noise, FLOW.signal[t])
    s = ((t + 1) / 1000).double()
    assert torch.allclose(noisy, (1 - s[:, None, None, None]) * original + s[:, None, None, None] * noise)
    assert torch.allclose(denoised_by(FLOW.learned(original, noise), noisy, s), original)
    assert torch.equal(FLOW.timestep_of(FLOW.sigmas), torch.arange(1000))
    assert torch.equal(FLOW.shown(noisy, s[0]), noisy)
