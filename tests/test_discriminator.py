"""The discriminator's head and the features it looks at."""

from contextlib import nullcontext

import pytest
import torch
from tiny import NANO, UNET, UNET_LIKE_SD2, UNET_LIKE_SD15, UNET_LIKE_SDXL

from inpainting_core.architecture import UNetShape
from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import build_unet, call_unet
from training.data.recipe import Recipe
from training.networks.discriminators import check_views
from yoeo_core.discriminator import Discriminator, middle_features

SHAPES = {"two levels": UNET, "SD1.5": UNET_LIKE_SD15, "SD2": UNET_LIKE_SD2, "SDXL": UNET_LIKE_SDXL, "nano": NANO}


def unet_and_inputs(shape, height: int, width: int):
    torch.manual_seed(0)
    unet = build_unet(shape).eval().requires_grad_(False)
    pooled = torch.randn(1, shape.pooled_dim) if shape.pooled_dim else None
    prompt = Prompt(torch.randn(1, 4, shape.context_dim), pooled)
    return unet, torch.randn(2, 9, height, width), torch.tensor([10, 750]), prompt


@pytest.mark.parametrize("name", SHAPES)
def test_the_features_are_what_the_whole_unet_computes_in_its_middle(name):
    unet, *given = unet_and_inputs(SHAPES[name], 16, 24)
    seen = []
    handle = unet.mid_block.register_forward_hook(lambda module, arguments, output: seen.append(output))
    call_unet(unet, *given)
    handle.remove()
    assert torch.equal(middle_features(unet, *given), seen[0])


@pytest.mark.parametrize("name", SHAPES)
def test_views_are_refused_just_where_the_discriminator_cannot_judge_them(name):
    """A view of 32 px among larger ones would end a run in the middle, whenever it came."""
    shape = SHAPES[name]
    head = Discriminator(shape.channels[-1]).requires_grad_(False)
    for side in (8, 16, 24, 32, 40, 48):
        unet, *given = unet_and_inputs(shape, side // 8, 64)
        try:
            head(middle_features(unet, *given))
            fits = True
        except RuntimeError:
            fits = False
        with nullcontext() if fits else pytest.raises(ValueError, match=f"px a side, got {side} x 512 among"):
            check_views([(512, 512), (side, 512)], shape)


def test_stable_diffusion_judges_views_from_72_px_on():
    check_views(Recipe(squares=True).shapes(128), UNetShape())
    check_views(Recipe().shapes(192), UNetShape())
    with pytest.raises(ValueError, match="at least 72 px a side, got 64 x 192 among those of this --resolution"):
        check_views(Recipe().shapes(128), UNetShape())


def test_the_way_up_is_not_walked():
    unet, *given = unet_and_inputs(UNET, 16, 16)
    unet.up_blocks, unet.conv_out = None, None
    assert middle_features(unet, *given).shape == (2, 64, 8, 8)


def test_the_features_lead_back_to_the_latent():
    unet, inputs, t, prompt = unet_and_inputs(UNET, 8, 8)
    unet, inputs, prompt = unet.double(), inputs.double().requires_grad_(), prompt.to(torch.float64)
    head = Discriminator(64).double()

    def score(x: torch.Tensor) -> torch.Tensor:
        return head(middle_features(unet, x, t, prompt)).sum()

    score(inputs).backward()
    way = torch.randn(inputs.shape, dtype=torch.float64)
    with torch.no_grad():
        slope = (score(inputs + 1e-5 * way) - score(inputs - 1e-5 * way)) / 2e-5
    assert slope.item() == pytest.approx((inputs.grad * way).sum().item(), rel=1e-4)
    assert inputs.grad[:, :4].abs().sum() > 0
    assert all(weight.grad is not None for weight in head.parameters())
    assert all(weight.grad is None for weight in unet.parameters())


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 64), (64, 16), (24, 40), (8, 8), (4, 4)])
def test_one_score_a_sample_for_every_aspect(height, width):
    unet, *given = unet_and_inputs(UNET, height, width)
    score = Discriminator(64)(middle_features(unet, *given))
    assert score.shape == (2,) and score.isfinite().all()


def test_the_head_has_the_published_layers():
    shapes = {key: tuple(value.shape) for key, value in Discriminator(1280).state_dict().items()}
    assert shapes == {
        "head.0.weight": (64, 1280, 3, 3),
        "head.0.bias": (64,),
        "head.2.weight": (128, 64, 4, 4),
        "head.4.weight": (128,),
        "head.4.bias": (128,),
        "head.6.weight": (1, 128, 4, 4),
    }


def test_samples_do_not_mix():
    torch.manual_seed(0)
    head, features = Discriminator(64), torch.randn(3, 64, 6, 10)
    assert torch.allclose(head(features)[1:2], head(features[1:2]), atol=1e-6)
