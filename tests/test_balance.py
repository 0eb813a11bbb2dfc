"""The cap on a student's last layer: at most half the distillation's pull, untouched where it is gentler."""

import pytest
import torch
from torch import nn

from yoeo_core.balance import capped, gradient_norm


def losses(strengths: dict[str, float]) -> tuple[nn.Conv2d, torch.Tensor, dict[str, torch.Tensor]]:
    """A body and its conv_out, a distillation loss on it, and terms that pull as hard as told."""
    torch.manual_seed(0)
    body, conv_out = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
    output = conv_out(body(torch.randn(2, 4, 8, 8)).relu())
    terms = {name: strength * (output - i).abs().mean() for i, (name, strength) in enumerate(strengths.items())}
    return conv_out, output.square().mean(), terms


def test_strong_terms_come_down_to_half_and_gentle_ones_stay():
    conv_out, distillation, terms = losses({"mask": 50.0, "probability": 1e-3, "coherence": 7.0})
    caps = capped(terms, distillation, conv_out.weight)
    g = gradient_norm(distillation, conv_out.weight)
    for name, term in terms.items():
        after = gradient_norm(caps[name].scale * term, conv_out.weight)
        assert after <= 0.5 * g * (1 + 1e-5)
        assert torch.allclose(after, caps[name].norm_after, rtol=1e-5)
    assert torch.allclose(caps["mask"].norm_after, 0.5 * g) and torch.allclose(caps["coherence"].norm_after, 0.5 * g)
    assert caps["probability"].scale == 1
    assert caps["probability"].norm_after == caps["probability"].norm > 0
    assert not any(cap.scale.requires_grad for cap in caps.values())


def test_a_term_with_a_share_of_its_own_comes_down_to_that():
    conv_out, distillation, terms = losses({"mask": 50.0, "coherence": 7.0})
    caps, g = capped(terms, distillation, conv_out.weight, {"mask": 0.1}), gradient_norm(distillation, conv_out.weight)
    assert torch.allclose(caps["mask"].norm_after, 0.1 * g) and torch.allclose(caps["coherence"].norm_after, 0.5 * g)


def test_the_norm_equals_finite_differences():
    conv_out = nn.Conv2d(2, 1, 1, bias=False).double()
    x = torch.randn(1, 2, 3, 3, dtype=torch.float64)

    def loss() -> torch.Tensor:
        return conv_out(x).pow(3).sum()

    slopes, step = [], 1e-6
    for i in range(2):
        with torch.no_grad():
            conv_out.weight[0, i] += step
            above = loss()
            conv_out.weight[0, i] -= 2 * step
            slopes.append(float(above - loss()) / (2 * step))
            conv_out.weight[0, i] += step
    assert float(gradient_norm(loss(), conv_out.weight)) == pytest.approx(sum(s * s for s in slopes) ** 0.5, rel=1e-6)


def test_a_term_that_is_zero_is_left_alone():
    conv_out, distillation, terms = losses({"mask": 0.0})
    cap = capped(terms, distillation, conv_out.weight)["mask"]
    assert cap.norm == 0 and cap.scale == 1


def test_without_distillation_nothing_pulls():
    conv_out, distillation, terms = losses({"mask": 1.0})
    assert capped(terms, 0 * distillation, conv_out.weight)["mask"].scale == 0


def test_the_graph_is_kept_and_no_gradient_left_behind():
    conv_out, distillation, terms = losses({"mask": 50.0})
    scale = capped(terms, distillation, conv_out.weight)["mask"].scale
    assert conv_out.weight.grad is None
    (distillation + scale * terms["mask"]).backward()
    assert conv_out.weight.grad.any()


def test_processes_that_share_their_gradients_find_the_whole_batch_s_scale():
    torch.manual_seed(0)
    conv_out = nn.Conv2d(4, 4, 1)
    batch = torch.randn(4, 4, 8, 8)

    def both(part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output = conv_out(part)
        return output.square().mean(), 30 * output.abs().mean()

    def gradients(part: torch.Tensor) -> list[torch.Tensor]:
        return [torch.autograd.grad(loss, conv_out.weight, retain_graph=True)[0] for loss in both(part)]

    distillation, term = both(batch)
    whole = capped({"term": term}, distillation, conv_out.weight)["term"]
    theirs = iter(gradients(batch[2:]))  # what the other process would send, in the order of the calls
    distillation, term = both(batch[:2])
    shared = capped({"term": term}, distillation, conv_out.weight, reduce=lambda ours: (ours + next(theirs)) / 2)
    assert torch.allclose(shared["term"].scale, whole.scale, rtol=1e-5) and whole.scale < 1
