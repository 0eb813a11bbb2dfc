"""Device and dtype discipline without a GPU: the cores run on CUDA tensors that have a shape but no numbers.

A tensor that a function makes on the wrong device or in the wrong dtype fails here.  What needs numbers (SciPy's
distances, where the hole's tokens lie) is found on the CPU and stays out.
"""

from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention

from eradiff_core.attention import Tokens, attend_split
from eradiff_core.sampler import ddim
from eradiff_core.sampler import path as ddim_path
from inpainting_core import schedule as schedules
from inpainting_core.architecture import ModelConfig, UNetShape, VAEShape
from inpainting_core.checkpoint import Checkpoint
from inpainting_core.colour import match_colour
from inpainting_core.crop import Crop, crop_mask, crop_picture, stitch
from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import DiffusersEngine, build_unet, build_vae
from inpainting_core.latents import masked_picture, unet_input
from inpainting_core.masks import to_grid, to_tokens
from inpainting_core.protocol import Inputs
from yoeo_core.consistency import lcm
from yoeo_core.consistency import path as lcm_path

DTYPES = [torch.float16, torch.bfloat16]
SMALL = ModelConfig(
    unet=UNetShape(channels=(32, 64), attention=(True, True), layers=1, heads=None, head_dim=32, context_dim=32),
    vae=VAEShape(kind="tiny", scale=0.9),
)


@pytest.fixture(autouse=True)
def cuda() -> Iterator[None]:
    """Everything below happens on a card that is not there."""
    with FakeTensorMode(), torch.device("cuda"):
        yield


def is_like(result: torch.Tensor, dtype: torch.dtype, *shape: int) -> bool:
    return result.device.type == "cuda" and result.dtype == dtype and result.shape == shape


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["rectified", "strict"])
def test_attention(dtype, mode):
    q, k, v = (torch.randn(2, 3, 24, 8, dtype=dtype) for _ in range(3))
    tokens = Tokens(torch.arange(10), torch.arange(10, 24), torch.arange(24))
    assert is_like(attend_split(q, k, v, tokens, mode, scaled_dot_product_attention, None), dtype, 2, 3, 24, 8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("prediction", schedules.PREDICTIONS)
def test_schedule(dtype, prediction):
    clean, noise = torch.randn(2, 3, 4, 8, 8, dtype=dtype)
    signal = torch.rand(3)
    noisy = schedules.add_noise(clean, noise, signal)
    output = schedules.target_of(prediction, clean, noise, signal)
    for result in (
        noisy,
        output,
        *(f(prediction, output, noisy, signal) for f in (schedules.denoised_from, schedules.noise_from)),
    ):
        assert is_like(result, dtype, 3, 4, 8, 8)
    with torch.device("cpu"):
        table = schedules.Schedule()
    assert table.timestep_of(torch.ones(3)).device.type == "cuda"


@pytest.mark.parametrize("dtype", DTYPES)
def test_masks_and_crops(dtype):
    image, mask = torch.rand(1, 3, 70, 90, dtype=dtype), torch.ones(1, 1, 70, 90, dtype=dtype)
    crop = Crop(-13, 20, 128, 128, 128, 128)
    assert is_like(to_grid(mask, 8, 8), dtype, 1, 1, 8, 8)
    assert is_like(to_tokens(mask, 8, 8), torch.bool, 1, 64)
    view, hole = crop_picture(image, crop), crop_mask(mask, crop)
    assert is_like(view, dtype, 1, 3, 128, 128) and is_like(hole, dtype, 1, 1, 128, 128)
    assert is_like(stitch(image, match_colour(masked_picture(view, hole), view, hole), crop, mask), dtype, 1, 3, 70, 90)


@pytest.mark.parametrize("dtype", DTYPES)
def test_latents(dtype):
    fed = unet_input(torch.rand(2, 4, 8, 8, dtype=dtype), torch.rand(1, 1, 8, 8), torch.rand(1, 4, 8, 8))
    assert is_like(fed, dtype, 2, 9, 8, 8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sampler", ["ddim", "lcm"])
def test_the_engine_and_the_samplers(dtype, sampler):
    weights = Checkpoint(
        SMALL, build_unet(SMALL.unet).state_dict(), build_vae(SMALL.vae).state_dict(), Prompt(torch.rand(1, 4, 32))
    )
    engine = DiffusersEngine.of(weights, "cuda", dtype)
    original = engine.encode(torch.rand(1, 3, 64, 128))
    with torch.device("cpu"):  # noise and noise levels are made there, so that a seed means the same everywhere
        noise, generator = torch.randn(1, 4, 8, 16), torch.Generator()
        chosen, sigmas = {"ddim": (ddim, ddim_path(3)), "lcm": (lcm([generator]), lcm_path(2))}[sampler]
        latent = engine.sample(
            chosen, sigmas, noise, Inputs(original, torch.ones(1, 1, 8, 16, device="cuda"), original)
        )
    assert is_like(latent, torch.float32, 1, 4, 8, 16)
    assert is_like(engine.decode(latent), torch.float32, 1, 3, 64, 128)


def test_a_wrong_device_is_noticed():
    """The instrument itself: mixing a CPU tensor in must fail, or the tests above prove nothing."""
    with pytest.raises(RuntimeError, match="device"):
        torch.ones(3) + torch.ones(3, device="cpu")
