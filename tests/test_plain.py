"""The networks in torch alone give what diffusers' give, from the same weights, and gradients with checkpointing."""

import pytest
import torch
from tiny import KL, NANO, TINY, UNET, UNET_LIKE_SD2, UNET_LIKE_SD15, UNET_LIKE_SDXL

from benchmarks.plain import build_unet, build_vae
from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import call_unet
from training.running.checkpointing import WAYS, checkpoint_gradients
from yoeo_core.discriminator import middle_features

SHAPES = {"plain": UNET, "SD1.5": UNET_LIKE_SD15, "SD2": UNET_LIKE_SD2, "SDXL": UNET_LIKE_SDXL, "nano": NANO}


def same_weights(build, shape) -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    theirs, ours = build(shape, plain=False), build(shape, plain=True)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def told(shape) -> tuple[torch.Tensor, torch.Tensor, Prompt]:
    """Latents of an odd size, whose halves are rounded up."""
    pooled = shape.pooled_dim and torch.randn(1, shape.pooled_dim)
    prompt = Prompt(torch.randn(1, 4, shape.context_dim), pooled)
    return torch.randn(2, 9, 12, 10), torch.tensor([999, 3]), prompt


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@torch.no_grad()
def test_a_unet_answers_as_diffusers_does(shape):
    ours, theirs = same_weights(build_unet, shape)
    given = told(shape)
    torch.testing.assert_close(call_unet(ours, *given), call_unet(theirs, *given), atol=1e-5, rtol=1e-4)
    features = (middle_features(network, *given) for network in (ours, theirs))
    torch.testing.assert_close(*features, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [KL, TINY], ids=["KL", "tiny"])
@torch.no_grad()
def test_an_autoencoder_answers_as_diffusers_does(shape):
    ours, theirs = same_weights(build_vae, shape)
    picture, latent = 2 * torch.rand(2, 3, 32, 24) - 1, torch.randn(2, 4, 4, 3)
    codes = [vae.encode(picture) for vae in (ours, theirs)]
    found = [code.latents if shape.kind == "tiny" else code.latent_dist.mode() for code in codes]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.decode(latent).sample, theirs.decode(latent).sample, atol=1e-5, rtol=1e-4)


def test_checkpointing_changes_no_gradient():
    ours, _ = same_weights(build_unet, UNET_LIKE_SDXL)
    given, found = told(UNET_LIKE_SDXL), []
    for way in (None, *WAYS):
        checkpoint_gradients(way, ours)
        ours.zero_grad()
        call_unet(ours, *given).square().sum().backward()
        found.append([weight.grad.clone() for weight in ours.parameters()])
    for plainly, *frugally in zip(*found, strict=True):
        for gradient in frugally:
            torch.testing.assert_close(plainly, gradient)
