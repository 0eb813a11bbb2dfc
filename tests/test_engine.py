"""The diffusers engine: what it feeds the network, how it reads the answer, and that it leaves no trace."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import KL, TINY, UNET, UNET_LIKE_SD2, UNET_LIKE_SD15, UNET_LIKE_SDXL, tiny_checkpoint, tiny_config
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention

from inpainting_core.checkpoint import Checkpoint, write_checkpoint
from inpainting_core.engine import DiffusersEngine, call_unet, load_engine, load_unet
from inpainting_core.protocol import Inputs
from inpainting_core.schedule import Schedule, add_noise, denoised_from, target_of
from inpainting_core.self_attention import token_grid

SIGMAS = Schedule().sigmas_for((999, 749))


def euler(model, x, sigmas, extra_args=None, callback=None, disable=None):
    """The plainest sampler in k-diffusion's form."""
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i].expand(len(x)), **extra_args)
        callback and callback({"i": i, "x": x, "sigma": sigmas[i], "denoised": denoised})
        x = denoised + (x - denoised) * sigmas[i + 1] / sigmas[i]
    return x


def only_x(model, x, sigmas, **_):
    """A sampler that gives its start back."""
    return x


def inputs_for(height: int = 8, width: int = 8, batch: int = 1, **changes) -> Inputs:
    generator = torch.Generator().manual_seed(3)
    start, masked = (torch.randn(batch, 4, height, width, generator=generator) for _ in range(2))
    mask = torch.zeros(batch, 1, height, width)
    mask[..., 2:5, 3:6] = 1
    return replace(Inputs(start, mask, masked), **changes)


def noise_for(inputs: Inputs) -> Tensor:
    return torch.randn(inputs.start.shape, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def engine() -> DiffusersEngine:
    return DiffusersEngine.of(tiny_checkpoint())


# the path's start


def test_a_noised_start_is_start_plus_sigma_noise(engine: DiffusersEngine):
    inputs = inputs_for()
    x = engine.sample(only_x, SIGMAS, noise_for(inputs), inputs)
    torch.testing.assert_close(x, inputs.start + SIGMAS[0] * noise_for(inputs))


def test_pure_noise_has_the_variance_of_the_noisiest_step(engine: DiffusersEngine):
    inputs = inputs_for(start=torch.zeros(1, 4, 8, 8))
    x = engine.sample(only_x, SIGMAS, noise_for(inputs), inputs)
    torch.testing.assert_close(x, noise_for(inputs) * (1 + SIGMAS[0] ** 2).sqrt())


# the denoiser


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_network_is_fed_and_read_as_it_was_trained(prediction: str):
    checkpoint = tiny_checkpoint(tiny_config(prediction=prediction))
    engine, inputs = DiffusersEngine.of(checkpoint), inputs_for(batch=2)
    clean, noise, t = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([900, 120])
    signal, sigma = Schedule().signal[t], Schedule().sigmas[t]
    noisy = add_noise(clean, noise, signal)
    seen = {}

    def sampler(model, x, sigmas, **_):
        seen["denoised"] = model(noisy / signal.sqrt()[:, None, None, None], sigma)
        return x

    engine.sample(sampler, SIGMAS, noise, inputs)
    fed = torch.cat([noisy, inputs.mask, inputs.masked], dim=1)
    with torch.no_grad():
        output = load_unet(checkpoint).eval()(fed, t, checkpoint.empty_prompt.tokens.expand(2, -1, -1)).sample
    torch.testing.assert_close(seen["denoised"], denoised_from(prediction, output, noisy, signal), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_perfect_network_gives_the_clean_latent(prediction: str):
    clean, inputs, t = torch.randn(1, 4, 8, 8), inputs_for(), torch.tensor([500])
    signal, noise = Schedule().signal[t], torch.randn(1, 4, 8, 8)

    class Perfect(torch.nn.Module):
        def forward(self, fed, timestep, prompt):
            assert int(timestep) == 500
            self.sample = target_of(prediction, clean, noise, signal)
            return self

    engine = DiffusersEngine.of(tiny_checkpoint(tiny_config(prediction=prediction)))
    engine.unet = Perfect()

    def sampler(model, x, sigmas, **_):
        return model(clean + sigmas[0] * noise, sigmas[:1])

    denoised = engine.sample(sampler, Schedule().sigmas_for((500,)), noise, inputs)
    torch.testing.assert_close(denoised, clean, atol=1e-5, rtol=1e-4)


def test_sdxls_network_is_told_the_pooled_prompt_and_the_size_in_pixels():
    checkpoint = tiny_checkpoint(tiny_config(UNET_LIKE_SDXL))
    unet, prompt = load_unet(checkpoint).eval(), checkpoint.empty_prompt
    fed, t = torch.randn(2, 9, 8, 12), torch.tensor([900, 120])

    def directly(pooled: Tensor, *size: float) -> Tensor:
        told = {"text_embeds": pooled.expand(2, -1), "time_ids": torch.tensor([size, size])}
        return unet(fed, t, prompt.tokens.expand(2, -1, -1), added_cond_kwargs=told).sample

    with torch.no_grad():
        output = call_unet(unet, fed, t, prompt)
        assert torch.equal(output, directly(prompt.pooled, 64.0, 96.0, 0.0, 0.0, 64.0, 96.0))
        assert not torch.allclose(output, directly(prompt.pooled, 96.0, 64.0, 0.0, 0.0, 96.0, 64.0))
        assert not torch.allclose(output, directly(-prompt.pooled, 64.0, 96.0, 0.0, 0.0, 64.0, 96.0))


def test_one_mask_serves_a_batch(engine: DiffusersEngine):
    many = inputs_for(batch=3)
    one = replace(many, mask=many.mask[:1], masked=many.masked[:1])
    many = replace(many, masked=one.masked.expand(3, -1, -1, -1))
    torch.testing.assert_close(*(engine.sample(euler, SIGMAS, noise_for(many), i) for i in (one, many)))


def test_the_callback_sees_every_step():
    steps = []
    engine = DiffusersEngine.of(
        tiny_checkpoint(), callback=lambda state: steps.append((state["i"], state["denoised"].shape))
    )
    engine.sample(euler, SIGMAS, noise_for(inputs_for()), inputs_for())
    assert steps == [(0, (1, 4, 8, 8)), (1, (1, 4, 8, 8))]


# attention


@pytest.mark.parametrize(
    "unet", [UNET, UNET_LIKE_SD15, UNET_LIKE_SD2, UNET_LIKE_SDXL], ids=["small", "sd15", "sd2", "sdxl"]
)
@pytest.mark.parametrize("size", [(8, 8), (8, 12), (9, 13)])
def test_plain_attention_put_in_changes_nothing(unet, size: tuple[int, int]):
    engine, inputs = DiffusersEngine.of(tiny_checkpoint(tiny_config(unet))), inputs_for(*size)
    grids = set()

    def plain(q, k, v, height, width, sigma):
        assert q.shape[2] == height * width
        grids.add((height, width))
        return scaled_dot_product_attention(q, k, v)

    with_ours = engine.sample(euler, SIGMAS, noise_for(inputs), replace(inputs, attention=plain))
    without = engine.sample(euler, SIGMAS, noise_for(inputs), inputs)
    torch.testing.assert_close(with_ours, without, atol=1e-4, rtol=1e-4)
    halved = (size[0] + 1) // 2, (size[1] + 1) // 2
    assert halved in grids and (size in grids) is unet.attention[0]


def test_attention_replaces_self_attention_only_and_is_taken_out_again(engine: DiffusersEngine):
    inputs, before = inputs_for(), dict(engine.unet.attn_processors)
    plain = engine.sample(euler, SIGMAS, noise_for(inputs), inputs)
    calls = []

    def zero(q, k, v, height, width, sigma):
        calls.append(k.shape[2] == q.shape[2])
        return torch.zeros_like(q)

    other = engine.sample(euler, SIGMAS, noise_for(inputs), replace(inputs, attention=zero))
    layers = sum(name.endswith("attn1.processor") for name in before)
    assert all(calls) and len(calls) == 2 * layers and not torch.equal(other, plain)
    assert engine.unet.attn_processors == before
    assert torch.equal(engine.sample(euler, SIGMAS, noise_for(inputs), inputs), plain)


def test_attention_is_taken_out_when_a_run_fails(engine: DiffusersEngine):
    before = dict(engine.unet.attn_processors)

    def broken(*_):
        raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        engine.sample(euler, SIGMAS, noise_for(inputs_for()), inputs_for(attention=broken))
    assert engine.unet.attn_processors == before


@pytest.mark.parametrize(("tokens", "grid"), [(117, (9, 13)), (35, (5, 7)), (12, (3, 4)), (4, (2, 2)), (1, (1, 1))])
def test_a_token_grid_is_the_latents_halved(tokens: int, grid: tuple[int, int]):
    assert token_grid(tokens, (9, 13)) == grid


def test_tokens_of_no_grid_are_refused():
    with pytest.raises(
        ValueError, match=re.escape("tokens must be those of a (8, 8) latent halved a few times, got 9.")
    ):
        token_grid(9, (8, 8))


# pictures and latents


@pytest.mark.parametrize("vae", [KL, TINY], ids=["kl", "tiny"])
def test_encoding_is_deterministic_and_decoding_gives_pictures(vae):
    engine, image = DiffusersEngine.of(tiny_checkpoint(tiny_config(vae=vae))), torch.rand(2, 3, 64, 96)
    latent = engine.encode(image)
    assert latent.shape == (2, 4, 8, 12) and torch.equal(latent, engine.encode(image))
    decoded = engine.decode(latent * 100)
    assert decoded.shape == image.shape and decoded.min() >= 0 and decoded.max() <= 1


@pytest.mark.parametrize("vae", [KL, TINY], ids=["kl", "tiny"])
def test_the_autoencoders_scale_stands_between_its_units_and_the_networks(vae):
    checkpoint, image = tiny_checkpoint(tiny_config(vae=vae)), torch.rand(1, 3, 64, 64)
    doubled = replace(checkpoint, config=tiny_config(vae=replace(vae, scale=2 * vae.scale)))
    one, two = DiffusersEngine.of(checkpoint), DiffusersEngine.of(doubled)
    torch.testing.assert_close(two.encode(image), 2 * one.encode(image))
    torch.testing.assert_close(two.decode(two.encode(image)), one.decode(one.encode(image)))


# loading


def test_an_engine_owns_its_weights_and_wants_no_gradients():
    checkpoint = tiny_checkpoint()
    engine = DiffusersEngine.of(checkpoint)
    with torch.no_grad():
        engine.unet.conv_in.weight.zero_()
    assert checkpoint.unet["conv_in.weight"].any()
    assert not any(p.requires_grad for p in [*engine.unet.parameters(), *engine.vae.parameters()])


def test_a_unet_for_training_wants_gradients():
    assert all(p.requires_grad and not p.is_meta for p in load_unet(tiny_checkpoint()).parameters())


def test_an_engine_from_a_file_and_its_base(tmp_path: Path):
    base, checkpoint = tiny_checkpoint(seed=1), tiny_checkpoint()
    write_checkpoint(tmp_path / "base.safetensors", base, torch.float32)
    write_checkpoint(tmp_path / "bare.safetensors", Checkpoint(checkpoint.config, checkpoint.unet), torch.float32)
    engine = load_engine(tmp_path / "bare.safetensors", tmp_path / "base.safetensors")
    expected = DiffusersEngine.of(replace(base, unet=checkpoint.unet))
    assert engine.resolution == 64
    inputs = inputs_for()
    assert torch.equal(*(e.sample(euler, SIGMAS, noise_for(inputs), inputs) for e in (engine, expected)))


@pytest.mark.parametrize(
    ("lacks", "sentence"),
    [
        ("vae", "an engine needs an autoencoder, got a checkpoint without; give a base."),
        ("empty_prompt", "an engine needs the empty prompt's embedding, got a checkpoint without; give a base."),
    ],
)
def test_an_incomplete_checkpoint_is_refused(lacks: str, sentence: str):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        DiffusersEngine.of(replace(tiny_checkpoint(), **{lacks: None}))


# devices and dtypes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_single_precision(engine: DiffusersEngine, dtype: torch.dtype):
    half, inputs = DiffusersEngine.of(tiny_checkpoint(), dtype=dtype), inputs_for()
    exact = engine.sample(euler, SIGMAS, noise_for(inputs), inputs)
    rough = half.sample(euler, SIGMAS, noise_for(inputs), inputs)
    assert rough.dtype == torch.float32
    # the first step multiplies an error of the network's by 14.6
    assert (rough - exact).abs().mean() < 0.3 * exact.abs().mean()


def test_an_autoencoder_that_overflows_in_fp16_stays_in_fp32():
    checkpoint = tiny_checkpoint(tiny_config(vae=replace(KL, needs_fp32=True)))
    half, bf16 = (DiffusersEngine.of(checkpoint, dtype=dtype) for dtype in (torch.float16, torch.bfloat16))
    assert (half.unet.dtype, half.vae.dtype, bf16.vae.dtype) == (torch.float16, torch.float32, torch.bfloat16)
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(half.encode(image), DiffusersEngine.of(checkpoint).encode(image))
    assert half.decode(half.encode(image)).shape == image.shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "config",
    [tiny_config(vae=KL), tiny_config(vae=TINY), tiny_config(UNET_LIKE_SDXL, replace(KL, needs_fp32=True))],
    ids=["kl", "tiny", "sdxl"],
)
def test_every_tensor_is_made_on_the_engines_device(config, dtype: torch.dtype):
    """Under fake CUDA tensors any tensor of the CPU that meets one of the card raises."""
    checkpoint, inputs, image = tiny_checkpoint(config), inputs_for(), torch.rand(1, 3, 64, 64)
    with FakeTensorMode(allow_non_fake_inputs=True):
        engine = DiffusersEngine.of(checkpoint, "cuda", dtype)
        attention = lambda q, k, v, height, width, sigma: scaled_dot_product_attention(q, k, v)  # noqa: E731
        given = replace(inputs, masked=engine.encode(image), attention=attention)
        latent = engine.sample(euler, SIGMAS, noise_for(inputs), given)
        decoded = engine.decode(latent)
    assert latent.device.type == decoded.device.type == "cuda"
    assert latent.dtype == decoded.dtype == torch.float32


def test_an_engine_from_a_file_reads_its_weights_where_they_lie(tmp_path: Path):
    """One copy of a file of 4 GB is enough: what is neither moved nor cast stays the file's own pages."""
    path, maps = tmp_path / "ours.safetensors", Path("/proc/self/maps")
    write_checkpoint(path, tiny_checkpoint(), torch.float32)
    engine = load_engine(path)
    if not maps.exists():
        pytest.skip("only Linux tells what a process has mapped")
    ranges = [line.split()[0].split("-") for line in maps.read_text().splitlines() if line.endswith(str(path))]
    for weight in (engine.unet.conv_in.weight, engine.vae.decoder.conv_in.weight):
        assert any(int(low, 16) <= weight.data_ptr() < int(high, 16) for low, high in ranges)


def test_an_engine_outlives_the_file_that_it_was_loaded_from(tmp_path: Path):
    """A training that writes its best state anew puts another file in its place, as all our writers do."""
    path = tmp_path / "ours.safetensors"
    write_checkpoint(path, tiny_checkpoint(), torch.float32)
    engine = load_engine(path)
    before = engine.unet.conv_in.weight.clone()
    write_checkpoint(path, tiny_checkpoint(seed=1), torch.float32)
    assert torch.equal(engine.unet.conv_in.weight, before)
    path.unlink()
    assert torch.equal(engine.unet.conv_in.weight, before)
