"""The engine on ComfyUI's own sampling: the same numbers as diffusers', and all that this sampling brings along."""

from dataclasses import replace

import pytest
import torch
from in_comfyui import comfy, room
from tiny import KL, NANO, TINY, UNET_LIKE_SD2, UNET_LIKE_SD15, UNET_LIKE_SDXL, tiny_checkpoint, tiny_config

from eradiff_core import pipeline as eradiff
from eradiff_core.attention import Softness
from eradiff_core.sampler import ddim
from inpainting_core.architecture import SD2_INPAINT, SD15_INPAINT, SDXL_INPAINT, ModelConfig
from inpainting_core.engine import DiffusersEngine
from inpainting_core.ldm_keys import unet_layout
from inpainting_core.protocol import Engine, Inputs
from yoeo_core import pipeline as yoeo

pytestmark = pytest.mark.usefixtures("in_comfyui")

CONFIGS = {
    "nano": replace(tiny_config(NANO, TINY, "v_prediction"), under_hole="continued", texture="borrowed", draws=2),
    "like SD1.5": tiny_config(UNET_LIKE_SD15, KL),
    "like SD2": tiny_config(UNET_LIKE_SD2, TINY),
    "like SDXL": tiny_config(UNET_LIKE_SDXL, KL),
}
SIGMAS = torch.tensor([14.6146, 4.0, 1.0, 0.0])


class Listening:
    """An engine that keeps the latents it was given to decode."""

    def __init__(self, engine: Engine):
        self.engine, self.latents = engine, []
        self.resolution, self.under_hole = engine.resolution, engine.under_hole
        self.texture, self.draws = engine.texture, engine.draws

    def encode(self, image):
        return self.engine.encode(image)

    def decode(self, latent):
        self.latents.append(latent)
        return self.engine.decode(latent)

    def sample(self, sampler, sigmas, noise, inputs):
        return self.engine.sample(sampler, sigmas, noise, inputs)


def comfy_engine(config: ModelConfig):
    checkpoint, build, boundary = tiny_checkpoint(config), room("model"), room("boundary")
    conditioning = boundary.conditioning_from(checkpoint.empty_prompt)
    return boundary.ComfyEngine(build.build_model(checkpoint), build.build_vae(checkpoint), conditioning)


@pytest.fixture(scope="module")
def engine():
    return comfy_engine(CONFIGS["nano"])


def picture_and_mask(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A hole of the picture's own aspect, so that the crop gets it too."""
    hole = torch.zeros(1, height, width)
    hole[:, height // 4 : height // 2, width // 4 : 2 * width // 3] = 1
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(3)), hole


METHODS = {
    "yoeo": lambda engine, *given: yoeo.erase(engine, *given, seed=5, resolution=128),
    "eradiff": lambda engine, *given: eradiff.erase(engine, *given, steps=3, seed=5, resolution=128),
    "eradiff strict": lambda engine, *given: eradiff.erase(
        engine, *given, steps=4, strength=0.6, attention="strict", seed=5, resolution=128
    ),
    "eradiff soft": lambda engine, *given: eradiff.erase(
        engine, *given, steps=3, softness=Softness(0.2, rising=True), start="mixed", seed=5, resolution=128
    ),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(("size", "square"), [((140, 140), True), ((64, 256), False)])
def test_the_engines_agree(config: str, method: str, size: tuple[int, int], square: bool):
    ours, theirs = (
        Listening(comfy_engine(CONFIGS[config])),
        Listening(DiffusersEngine.of(tiny_checkpoint(CONFIGS[config]))),
    )
    a, b = (METHODS[method](engine, *picture_and_mask(*size)) for engine in (ours, theirs))
    (crop,) = a.crops
    assert (crop.work_height == crop.work_width) is square and a.crops == b.crops
    (latent,), (expected,) = ours.latents, theirs.latents
    difference = (latent - expected).abs().max()
    print(f"{config}, {method}, {crop.work_width} x {crop.work_height}: {difference:.1e} of {expected.abs().max():.1f}")
    assert difference <= 1e-3
    assert torch.allclose(a.image, b.image, atol=1e-4)


@pytest.mark.parametrize("config", ["nano", "like SDXL"])
def test_attention_takes_the_place_of_every_self_attention(config: str):
    """The same layers on the same token grids as in diffusers, in the same order, at every step."""

    def grids_seen(engine: Engine) -> list[tuple[int, int]]:
        grids = []

        def attention(q, k, v, height, width, sigma, kernel=None):
            grids.append((height, width))
            return v

        engine.sample(ddim, SIGMAS, torch.ones(1, 4, 8, 16), inputs(attention))
        return grids

    engine = DiffusersEngine.of(tiny_checkpoint(CONFIGS[config]))
    seen = grids_seen(comfy_engine(CONFIGS[config]))
    assert seen == grids_seen(engine)
    assert len(seen) == 3 * sum(name.endswith("attn1") for name, _ in engine.unet.named_modules())


def test_sdxls_network_sees_the_prompts_pooled_vector():
    engine = comfy_engine(CONFIGS["like SDXL"])
    run = (ddim, SIGMAS, torch.ones(1, 4, 8, 16), inputs())
    before = engine.sample(*run)
    ((tokens, extras),) = engine.conditioning
    engine.conditioning = [[tokens, {"pooled_output": -extras["pooled_output"]}]]
    assert (engine.sample(*run) - before).abs().max() > 1e-3


def test_sdxl_from_a_stock_loader_works_at_its_own_size_and_wants_a_pooled_vector():
    engine, build = comfy_engine(CONFIGS["like SDXL"]), room("boundary").ComfyEngine
    model = engine.model.clone()
    model.attachments = {}
    stock = build(model, engine.vae, engine.conditioning)
    assert (stock.resolution, stock.under_hole, stock.texture, stock.draws) == (1024, "grey", "own", 1)
    with pytest.raises(ValueError, match="conditioning must hold a pooled text for an SDXL model, got one without."):
        build(model, engine.vae, [[engine.conditioning[0][0], {}]])


@pytest.mark.parametrize("config", [SD15_INPAINT, SD2_INPAINT, SDXL_INPAINT], ids=["SD1.5", "SD2", "SDXL"])
def test_full_size_models_are_described_as_comfyui_detects_them(config: ModelConfig):
    weights = {slot.ldm: torch.empty(slot.ldm_shape, device="meta") for slot in unet_layout(config.unet).values()}
    detected = comfy("comfy.model_detection").model_config_from_unet(weights, "")
    ours = room("model").describe(config)
    assert issubclass(type(detected), type(ours))
    assert [320 * width for width in ours.unet_config.pop("channel_mult")] == [*config.unet.channels]
    assert [320 * times for times in detected.unet_config.pop("channel_mult")] == [*config.unet.channels]
    assert ours.unet_config == detected.unet_config
    assert ours.latent_format.scale_factor == detected.latent_format.scale_factor


def inputs(attention=None, height: int = 8, width: int = 16) -> Inputs:
    generator = torch.Generator().manual_seed(4)
    start, masked = torch.randn(2, 1, 4, height, width, generator=generator)
    hole = torch.zeros(1, 1, height, width)
    hole[..., 2:5, 3:9] = 1
    return Inputs(start, hole, masked, attention)


def test_the_path_begins_exactly_where_the_seam_says(engine):
    given, noise, seen = inputs(), torch.randn(1, 4, 8, 16), []

    def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        seen.append(x)
        return x

    out = engine.sample(sampler, SIGMAS, noise, given)
    assert torch.allclose(seen[0], given.start + SIGMAS[0] * noise, atol=1e-5)
    assert torch.allclose(out, seen[0], atol=1e-5)
    engine.sample(sampler, SIGMAS, noise, replace(given, start=torch.zeros_like(noise)))
    assert torch.allclose(seen[1], (1 + SIGMAS[0] ** 2).sqrt() * noise, atol=1e-5)


def test_a_lora_changes_the_result_and_leaves_the_model_alone(engine):
    shape = engine.model.model.diffusion_model.middle_block[1].transformer_blocks[0].attn1.to_q.weight.shape
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"  # diffusers' name, as LoRAs are published
    lora = {f"{name}.lora_up.weight": torch.randn(shape[0], 4), f"{name}.lora_down.weight": torch.randn(4, shape[1])}
    with_lora, _ = comfy("comfy.sd").load_lora_for_models(engine.model, None, lora, 5.0, 0.0)
    assert len(with_lora.patches) == 1 and with_lora.get_attachment("erase_once") == CONFIGS["nano"]
    changed = room("boundary").ComfyEngine(with_lora, engine.vae, engine.conditioning)
    run = (ddim, SIGMAS, torch.ones(1, 4, 8, 16), inputs())
    before, between, after = engine.sample(*run), changed.sample(*run), engine.sample(*run)
    assert torch.equal(before, after) and (before - between).abs().max() > 1e-3


def test_cancel_ends_the_run_at_its_next_step(engine):
    management, steps = comfy("comfy.model_management"), []

    def cancelled_on_the_way(model, x, sigmas, extra_args=None, callback=None, disable=None):
        def counted(*args, **kwargs):
            steps.append(1)
            management.interrupt_current_processing()
            return model(*args, **kwargs)

        return ddim(counted, x, sigmas, extra_args, callback)

    with pytest.raises(management.InterruptProcessingException):
        engine.sample(cancelled_on_the_way, SIGMAS, torch.ones(1, 4, 8, 16), inputs())
    assert len(steps) == 1
    engine.sample(ddim, SIGMAS, torch.ones(1, 4, 8, 16), inputs())


def test_progress_and_a_preview_are_shown_at_every_step(engine, monkeypatch):
    utils, preview = comfy("comfy.utils"), comfy("latent_preview")
    shown = []
    monkeypatch.setattr(preview.args, "preview_method", preview.LatentPreviewMethod.Auto)
    monkeypatch.setattr(
        utils, "PROGRESS_BAR_HOOK", lambda value, total, picture, node_id=None: shown.append((value, total, picture))
    )
    engine.sample(ddim, SIGMAS, torch.ones(1, 4, 8, 16), inputs())
    assert [(value, total) for value, total, _ in shown] == [(1, 3), (2, 3), (3, 3)]
    assert all(picture[1].size == (16, 8) for *_, picture in shown)


def test_previews_are_drawn_in_true_colours(engine):
    """For an autoencoder whose latents are linear in colour, the fitted map undoes it."""
    model = engine.model.clone()
    model.add_object_patch("latent_format", comfy("comfy.latent_formats").SD15(0.5))
    mix = torch.tensor([[2.0, 0.1, 0.0, 0.5], [0.1, 2.0, 0.3, 0.0], [0.0, 0.1, 2.0, -0.2]])

    class Linear:
        def encode(self, image):
            return (image[:, ::8, ::8] @ mix + 0.3).movedim(-1, 1)

    room("model").show_true_colours(model, Linear())
    latents = model.get_model_object("latent_format")
    factors, bias = torch.tensor(latents.latent_rgb_factors), torch.tensor(latents.latent_rgb_factors_bias)
    colour = torch.tensor([0.7, 0.4, 0.2])
    assert torch.allclose(0.5 * (colour @ mix + 0.3) @ factors + bias, 2 * colour - 1, atol=0.02)


def test_low_memory_modes_give_the_same(engine, monkeypatch):
    """Weights left outside the device and cast layer by layer, as --novram has it."""
    management = comfy("comfy.model_management")
    run = (ddim, SIGMAS, torch.ones(1, 4, 8, 16), inputs())
    expected = engine.sample(*run)
    management.unload_all_models()
    monkeypatch.setattr(management, "vram_state", management.VRAMState.NO_VRAM)
    monkeypatch.setattr(management, "minimum_inference_memory", lambda: 0)
    monkeypatch.setattr(management, "is_device_cpu", lambda device: False)
    assert torch.equal(engine.sample(*run), expected)
    assert engine.model.model.model_lowvram
