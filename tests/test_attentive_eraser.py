"""AttentiveEraser restated: its edit of the attention, and its two branches a step against the paper's formulas."""

import pytest
import torch
from tiny import UNET_LIKE_SD15, tiny_checkpoint, tiny_config

from eradiff_core import pipeline as eradiff
from eradiff_core.attention import attend
from eradiff_core.sampler import path
from evaluation import attentive_eraser
from evaluation.attentive_eraser import STEPS, STRENGTH, AttentiveEraser, RedirectedAttention, redirected, two_branches

HOLE = torch.tensor([i % 3 == 0 for i in range(15)])


def qkv(batch: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, 3, 15, 8, generator=generator) for _ in range(3)]


def test_the_edit_is_strict_attention_with_the_holes_logits_scaled():
    q, k, v = qkv()
    assert torch.allclose(redirected(q, k, v, HOLE, 1.0), attend(q, k, v, HOLE.expand(2, -1), "strict"), atol=1e-5)
    weights = torch.zeros(15, 15)
    for i in range(15):
        scale = 0.3 if HOLE[i] else 1.0
        row = [0 if HOLE[j] else float((scale * q[0, 0, i] @ k[0, 0, j] / 8**0.5).exp()) for j in range(15)]
        weights[i] = torch.tensor(row) / sum(row)
    assert torch.allclose(redirected(q, k, v, HOLE, 0.3)[0, 0], weights @ v[0, 0], atol=1e-5)


def test_a_grid_that_is_all_hole_looks_at_all_alike():
    q, k, v = qkv()
    made = redirected(q, k, v, torch.ones(15, dtype=torch.bool), 0.3)
    assert torch.allclose(made, v.mean(2, keepdim=True).expand_as(v), atol=1e-6)


def test_only_the_second_branch_is_edited_and_only_from_the_decoder_on():
    mask = HOLE.float().view(1, 1, 3, 5)
    q, k, v = qkv(4)
    attention = RedirectedAttention(mask, layers=3, first=2, suppressed_above=1.0)
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    for sigma, scale in ((2.0, 0.3), (1.0, 1.0)):
        first, second, last = (attention(q, k, v, 3, 5, torch.full((4,), sigma)) for _ in range(3))
        assert torch.equal(first, plain) and torch.equal(second, plain) and torch.equal(last[:2], plain[:2])
        assert torch.equal(last[2:], redirected(q[2:], k[2:], v[2:], HOLE, scale))


def test_a_step_is_the_guided_noise_estimate_and_the_noised_original_around_the_hole():
    """In the paper's notation, ``z = sqrt(abar) (x0 + sigma noise)``, with eps of each branch."""
    generator = torch.Generator().manual_seed(3)
    start, noise = (torch.randn(1, 4, 2, 3, generator=generator).double() for _ in range(2))
    mask = torch.tensor([[0.0, 1, 0], [1, 1, 0]]).view(1, 1, 2, 3)
    sigmas = path(4, 0.5).double()

    def model(x, sigma):
        assert len(x) == 2 and torch.equal(x[0], x[1]) and len(sigma) == 2
        return x * torch.tensor([0.3, 0.5], dtype=torch.float64).view(2, 1, 1, 1)

    x = start + sigmas[0] * noise
    found = two_branches(start, mask, noise)(model, x, sigmas)
    abar = 1 / (1 + sigmas**2)
    z = abar[0].sqrt() * x
    for now, after in zip(abar[:-1], abar[1:], strict=True):
        shown = z / now.sqrt()
        plain, edited = ((z - now.sqrt() * share * shown) / (1 - now).sqrt() for share in (0.3, 0.5))
        eps = plain + 9 * (edited - plain)
        z = after.sqrt() * (z - (1 - now).sqrt() * eps) / now.sqrt() + (1 - after).sqrt() * eps
        z = mask * z + (1 - mask) * (after.sqrt() * start + (1 - after).sqrt() * noise)
    assert torch.allclose(found, z / abar[-1].sqrt(), atol=1e-9)
    assert torch.equal(found[..., 0, 0], start[..., 0, 0])


def test_the_decoders_layers_come_last():
    engine, order = AttentiveEraser.of(tiny_checkpoint(tiny_config(UNET_LIKE_SD15))), []
    for name, layer in engine.unet.named_modules():
        if name.endswith("attn1"):
            layer.register_forward_pre_hook(lambda *_, name=name: order.append(name.split("_")[0]))
    fed, tokens = torch.zeros(1, 9, 8, 8), engine.prompt.tokens
    engine.unet(fed, torch.tensor([1]), tokens)
    assert order == ["down"] * 4 + ["mid"] + ["up"] * 6


def test_forty_steps_are_walked_of_which_nine_suppress_similarity(monkeypatch: pytest.MonkeyPatch):
    checkpoint = tiny_checkpoint(tiny_config(UNET_LIKE_SD15))
    scales = []

    def kept(q, k, v, hole, scale):
        scales.append(scale)
        return redirected(q, k, v, hole, scale)

    monkeypatch.setattr(attentive_eraser, "redirected", kept)
    picture, mask = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(4)), torch.zeros(64, 64)
    mask[20:40, 16:30] = 1
    erased = eradiff.erase(AttentiveEraser.of(checkpoint), picture, mask, steps=STEPS, strength=STRENGTH)
    decoder = 6
    assert scales == [0.3] * 9 * decoder + [1.0] * 31 * decoder
    outside = erased.changed == 0
    assert torch.equal(erased.image.where(outside, 0), picture.where(outside, 0))
    assert (erased.image != picture).any()
