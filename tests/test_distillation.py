"""Distillation: the phases, the timesteps drawn, and each loss with its gradient."""

import math
from collections import Counter

import lpips
import pytest
import torch
from references_yoeo import dmd_loss_by_sample, start_probabilities_by_loop
from scipy.stats import chisquare
from stlpips_pytorch import stlpips

from inpainting_core.schedule import PREDICTIONS, Schedule, add_noise, denoised_from, target_of
from yoeo_core.consistency import TIMESTEPS
from yoeo_core.distillation import (
    CENTRES,
    PHASES,
    START_TIMESTEPS,
    dmd_loss,
    draw_start,
    lsgan_discriminator,
    lsgan_generator,
    perceptual_loss,
    phase,
    reweighed,
    start_probabilities,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_training_can_end_with_other_weights():
    for one in PHASES:
        assert reweighed(one, 1.0, 0.7, 0.3) == one, "lambda_1 to lambda_3 of the paper"
    other = [reweighed(one, 2.0, 1.4, 0.15) for one in PHASES]
    assert [one.dmd for one in other] == pytest.approx([0, 0.6, 1.0, 1.4])
    assert [one.gan for one in other] == pytest.approx([0, 0.05, 0.1, 0.15])
    assert {one.lpips for one in other} == {2.0}
    assert [one.mixture for one in other] == [one.mixture for one in PHASES]


def test_the_teacher_walks_twenty_trailing_steps():
    assert START_TIMESTEPS == tuple(999 - 50 * i for i in range(20))
    assert tuple(START_TIMESTEPS[i] for i in CENTRES) == TIMESTEPS


def test_a_phase_lasts_1500_generator_steps():
    steps = (0, 1499, 1500, 2999, 3000, 4499, 4500, 14999)
    assert [PHASES.index(phase(step)) for step in steps] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [(one.dmd, one.gan) for one in PHASES] == [(0, 0), (0.3, 0.1), (0.5, 0.2), (0.7, 0.3)]


def test_phases_can_be_shorter_or_always_the_last():
    assert [PHASES.index(phase(step, 10)) for step in (9, 10, 29, 30)] == [0, 1, 2, 3]
    assert phase(0, steps_per_phase=0) is phase(10**6, steps_per_phase=0) is PHASES[-1]


def test_the_last_phase_draws_as_published():
    probability = dict(zip(START_TIMESTEPS, start_probabilities(PHASES[-1]).tolist(), strict=True))
    published = {999: 0.329, 949: 0.045} | {t: 0.164 for t in (749, 499, 249)}
    published |= {t + near: 0.022 for t in (749, 499, 249) for near in (50, -50)}
    assert all(probability[t] == pytest.approx(value, abs=6e-4) for t, value in published.items())
    assert sum(probability.values()) == pytest.approx(1)
    assert sum(value for t, value in probability.items() if t not in published) < 1e-3


@pytest.mark.parametrize("number", range(4))
def test_probabilities_equal_the_mixture_added_up_by_hand(number):
    expected = torch.tensor(start_probabilities_by_loop(PHASES[number].mixture))
    assert torch.allclose(start_probabilities(PHASES[number]), expected, atol=1e-7)


@pytest.mark.parametrize("number", range(4))
def test_drawn_starts_follow_the_mixture(number):
    """Chi-square over 5,000 draws; starts expected less than five times are counted together."""
    drawn, total = Counter(), 5_000
    generator = seeded(number)
    for _ in range(total):
        drawn[draw_start(PHASES[number], generator)] += 1
    expected = {i: p * total for i, p in enumerate(start_probabilities_by_loop(PHASES[number].mixture))}
    common = [i for i, count in expected.items() if count >= 5]
    observed = [drawn[i] for i in common] + [total - sum(drawn[i] for i in common)]
    wanted = [expected[i] for i in common] + [total - sum(expected[i] for i in common)]
    if wanted[-1] < 5:
        observed, wanted = [*observed[:-2], sum(observed[-2:])], [*wanted[:-2], sum(wanted[-2:])]
    p = chisquare(observed, wanted).pvalue
    print(f"phase {number + 1}: p = {p:.3f} with {len(wanted)} cells")
    assert p > 0.01


def scores_of(prediction: str) -> dict[str, torch.Tensor]:
    """A student's x0 at five noise levels and what two networks give for it, in fp64."""
    generator = seeded(1)
    student, noise = torch.randn(2, 5, 4, 6, 10, generator=generator, dtype=torch.float64)
    signal = Schedule().signal[[0, 200, 500, 800, 999]].double()
    noisy, found = add_noise(student, noise, signal), {"student": student, "signal": signal}
    found["noisy"], found["keep"] = noisy, (torch.rand(5, 1, 6, 10, generator=generator) > 0.3).double()
    for name in ("real", "fake"):
        guess = noise + 0.3 * torch.randn(noise.shape, generator=generator, dtype=torch.float64)
        clean = denoised_from("epsilon", guess, noisy, signal)
        output = target_of(prediction, clean, guess, signal)
        found[f"noise_{name}"], found[name] = guess, denoised_from(prediction, output, noisy, signal)
    return found


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("masked", [False, True])
def test_dmd_equals_the_published_form_in_noises(prediction, masked):
    found = scores_of(prediction)
    keep = found["keep"] if masked else torch.ones_like(found["keep"])
    by_sample = dmd_loss_by_sample(
        found["student"], found["noisy"], found["noise_real"], found["noise_fake"], found["signal"], keep
    )
    loss = dmd_loss(found["student"], found["real"], found["fake"], keep if masked else None)
    assert loss.shape == (5,)
    assert torch.allclose(loss, by_sample, rtol=1e-9, atol=0)


def test_dmd_gradient_is_the_weighted_difference_of_the_scores():
    found = scores_of("epsilon")
    student = found["student"].clone().requires_grad_()
    dmd_loss(student, found["real"], found["fake"], found["keep"]).sum().backward()
    for i in range(5):
        distance = (found["student"][i] - found["real"][i]).abs().mean() + 1e-5
        coefficient = (found["fake"][i] - found["real"][i]) * found["keep"][i]
        expected = 2 / student[i].numel() * coefficient / distance
        assert torch.allclose(student.grad[i], expected, rtol=1e-9, atol=1e-15)


def test_dmd_is_nothing_where_the_scores_agree_and_pulls_towards_the_real_one():
    found = scores_of("epsilon")
    assert dmd_loss(found["student"], found["real"], found["real"]).eq(0).all()
    student = found["student"].clone().requires_grad_()
    dmd_loss(student, found["student"] + 1, found["student"] - 1).sum().backward()
    assert (student.grad < 0).all()  # a step against the gradient goes up, to the real score's x0


def perceptual_network(name: str) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name == "lpips":
            return lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False).double()
        return stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False).double()


@pytest.mark.parametrize("name", ["lpips", "stlpips"])
def test_both_perceptual_networks_give_one_number_a_sample(name):
    student, teacher = torch.rand(2, 3, 3, 64, 80, generator=seeded(), dtype=torch.float64)
    teacher[1] = student[1]
    network = perceptual_network(name)
    loss = perceptual_loss(network, student, teacher)
    assert loss.shape == (3,) and loss[1] == 0 and (loss[[0, 2]] > 0).all()
    # the package's own scaling from [0, 1] to [-1, 1]
    assert torch.allclose(loss, network(student, teacher, normalize=True).flatten())


def test_a_network_of_flat_numbers_serves_too():
    loss = perceptual_loss(
        lambda a, b: (a - b).abs().flatten(1).mean(1), torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    )
    assert loss.tolist() == [2, 2]


def test_what_the_teacher_invented_is_not_looked_at():
    network, generator = perceptual_network("lpips"), seeded()
    student, teacher = torch.rand(2, 2, 3, 64, 64, generator=generator, dtype=torch.float64)
    keep = torch.ones(2, 1, 64, 64, dtype=torch.float64)
    keep[:, :, 10:30, 20:50] = 0
    student.requires_grad_()
    loss = perceptual_loss(network, student, teacher, keep)
    loss.sum().backward()
    assert student.grad[..., 10:30, 20:50].eq(0).all() and student.grad.ne(0).any()
    other = teacher * keep + (1 - keep)
    assert torch.equal(loss, perceptual_loss(network, student, other, keep))
    assert not torch.allclose(loss, perceptual_loss(network, student, other))


def test_perceptual_gradient_by_finite_differences():
    network, generator = perceptual_network("lpips"), seeded()
    student, teacher, way = torch.rand(3, 1, 3, 64, 64, generator=generator, dtype=torch.float64)
    keep = (torch.rand(1, 1, 64, 64, generator=generator) > 0.2).double()
    teacher, student = teacher.requires_grad_(), student.requires_grad_()
    perceptual_loss(network, student, teacher, keep).sum().backward()
    with torch.no_grad():
        ahead, behind = (perceptual_loss(network, student + h * (way - 0.5), teacher, keep) for h in (1e-6, -1e-6))
    along = (student.grad * (way - 0.5)).sum().item()
    assert ((ahead - behind) / 2e-6).item() == pytest.approx(along, rel=1e-4)
    assert teacher.grad is None


def test_adversarial_losses_have_their_published_values():
    score = torch.tensor([0.0, math.log(3), -math.log(3)], dtype=torch.float64)  # sigmoids 1/2, 3/4, 1/4
    assert lsgan_generator(score).tolist() == pytest.approx([0.25, 0.0625, 0.5625])
    assert lsgan_discriminator(score, -score).tolist() == pytest.approx([0.25, 0.0625, 0.5625])


def test_adversarial_gradients_by_finite_differences():
    real, fake = (torch.randn(4, generator=seeded(), dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lsgan_generator, fake)
    assert torch.autograd.gradcheck(lsgan_discriminator, (real, fake))
