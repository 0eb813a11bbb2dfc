"""Self-Rectifying Attention as a model patch: what it computes, where it works, and that it ends with its clone."""

import logging
import re

import pytest
import torch
from in_comfyui import comfy, nodes, room
from tiny import TINY, UNET_LIKE_SD15, tiny_checkpoint, tiny_config
from torch.overrides import TorchFunctionMode

from eradiff_core.attention import attend
from inpainting_core.masks import to_tokens

pytestmark = pytest.mark.usefixtures("in_comfyui")

LATENT = (8, 12)


@pytest.fixture(scope="module")
def model(in_comfyui):
    return room("model").build_model(tiny_checkpoint(tiny_config(UNET_LIKE_SD15, TINY)))


def hole(frames: int = 1) -> torch.Tensor:
    """A pixel mask for the latent, another one for each picture."""
    mask = torch.zeros(frames, 8 * LATENT[0], 8 * LATENT[1])
    for frame in range(frames):
        mask[frame, 10:40, 8 + 16 * frame : 40 + 16 * frame] = 1
    return mask


def patched(model, mask=None, mode="rectified", blocks="all", start=0.0, end=1.0, **soft):
    mask = hole() if mask is None else mask
    return nodes()["EraseOnceSRA"].execute(model, mask, mode, blocks, start, end, **soft)[0]


def sampled(model, batch: int = 1, cfg: float = 1.0, within=None, areas=None, steps: int = 2) -> torch.Tensor:
    """Some steps of a stock sampler on any model, prompt and negative in one batch where cfg asks for both.

    ``within`` is a part of the latent, sampled alone; ``areas`` are parts that have a prompt each.
    """
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(batch, 4, *LATENT, generator=generator)
    pooled = {"pooled_output": torch.zeros(1, 1280)}  # SDXL's, the others pass it over
    tokens = [torch.randn(1, 4, 64, generator=generator) for _ in range(2)]
    prompts = [[[one, pooled]] for one in tokens]
    if areas:
        prompts[0] = [[tokens[0], {**pooled, "area": area}] for area in areas]
    if within:
        height, width, top, left = within
        noise = noise[..., top : top + height, left : left + width]
    sampler = comfy("comfy.samplers").sampler_object("euler")
    sigmas = torch.tensor([14.6146, *[2.0 / step for step in range(1, steps)], 0.0])
    return comfy("comfy.sample").sample_custom(model, noise, cfg, sampler, sigmas, *prompts, torch.zeros_like(noise))


def options(**changed) -> dict:
    """What ComfyUI tells an attention patch, in a layer of half the latent's size."""
    height, width = LATENT
    told = {"n_heads": 2, "attn_precision": None, "cond_or_uncond": [0], "sigmas": torch.tensor([3.0])}
    told |= {"activations_shape": [1, 8, height // 2, width // 2], "original_shape": [1, 9, height, width]}
    return told | changed


def replacement(model, *block):
    return model.model_options["transformer_options"]["patches_replace"]["attn1"][block]


def qkv(batch: int = 1, tokens: int = LATENT[0] * LATENT[1] // 4) -> tuple[torch.Tensor, ...]:
    return torch.randn(3, batch, tokens, 8, generator=torch.Generator().manual_seed(2)).unbind()


def expected(q, k, v, mask, mode="rectified"):
    heads = (x.unflatten(-1, (2, 4)).transpose(1, 2) for x in (q, k, v))
    tokens = to_tokens(mask[:, None], LATENT[0] // 2, LATENT[1] // 2)
    return attend(*heads, tokens, mode).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("mode", ["rectified", "strict"])
def test_the_patch_computes_attend(model, mode: str):
    out = replacement(patched(model, mode=mode), "middle", 0)(*qkv(), options())
    assert torch.allclose(out, expected(*qkv(), hole(), mode), atol=1e-5)
    assert not torch.allclose(out, expected(*qkv(), hole(), "off"), atol=1e-2)


def test_prompt_and_negative_share_the_masks_of_the_batch(model):
    """ComfyUI runs the whole batch for the negative, then the whole batch for the prompt."""
    out = replacement(patched(model, hole(2)), "middle", 0)(*qkv(4), options(cond_or_uncond=[1, 0]))
    assert torch.allclose(out, expected(*qkv(4), hole(2).repeat(2, 1, 1)), atol=1e-5)
    one = replacement(patched(model), "middle", 0)(*qkv(4), options(cond_or_uncond=[1, 0]))
    assert torch.allclose(one, expected(*qkv(4), hole().repeat(4, 1, 1)), atol=1e-5)


def test_masks_that_do_not_fit_are_named(model):
    with pytest.raises(ValueError, match=re.escape("mask must come once or once per picture (2), got 3 masks.")):
        replacement(patched(model, hole(3)), "middle", 0)(*qkv(2), options())
    with pytest.raises(
        ValueError, match=re.escape("mask must have the picture's aspect ratio, about 96 x 64, got 64 x 96.")
    ):
        replacement(patched(model, hole().mT), "middle", 0)(*qkv(), options())
    with pytest.raises(ValueError, match="mask must hold numbers from 0 to 1"):
        patched(model, hole() * 3)


def test_it_works_between_its_two_points_only(model):
    late = replacement(patched(model, start=0.5), "middle", 0)
    sampling = model.get_model_object("model_sampling")
    border = sampling.percent_to_sigma(0.5)
    assert torch.allclose(late(*qkv(), options(sigmas=torch.tensor([border * 1.01]))), expected(*qkv(), hole(), "off"))
    assert torch.allclose(
        late(*qkv(), options(sigmas=torch.tensor([border * 0.99]))), expected(*qkv(), hole()), atol=1e-5
    )


def test_rearranged_tokens_get_plain_attention_and_one_warning(model, caplog):
    patch = replacement(patched(model), "middle", 0)
    with caplog.at_level(logging.WARNING):
        out = [patch(*qkv(tokens=10), options()) for _ in range(3)][0]
    assert out.shape == (1, 10, 8)
    assert [record.message for record in caplog.records] == [
        "Erase Once: 10 tokens do not fit the 6 x 4 grid, so plain attention is used."
    ]


def test_every_block_that_attends_is_found(model):
    shape, unet = UNET_LIKE_SD15, model.model.diffusion_model
    assert room("patch").self_attention_blocks(model) == [
        *[("input", n) for n in (1, 2, 4, 5)],
        ("middle", 0),
        *[("output", n) for n in range(shape.layers + 1, len(unet.output_blocks))],
    ]
    keys = patched(model, blocks="decoder").model_options["transformer_options"]["patches_replace"]["attn1"]
    assert {part for part, _ in keys} == {"output"}


# Height, width, top and left of an area on the latent: of the latent's aspect, of another, over the border, all of it.
AREAS = [(4, 6, 4, 0), (4, 6, 0, 6), (8, 6, 0, 2), (6, 4, 2, 8), (8, 12, 4, 4), (8, 12, 0, 0)]


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("batch", [1, 2])
def test_a_prompt_for_an_area_is_rectified_by_what_of_the_mask_lies_in_it(model, area: tuple, batch: int):
    height, width, top, left = (min(area[0], 8 - area[2]), min(area[1], 12 - area[3]), *area[2:])
    rows, columns = slice(top, top + height), slice(left, left + width)
    made = sampled(patched(model, hole(batch)), batch, areas=[area], steps=1)[..., rows, columns]
    part = hole(batch)[:, 8 * top : 8 * (top + height), 8 * left : 8 * (left + width)]
    expected = sampled(patched(model, part), batch, within=(height, width, top, left), steps=1)
    assert torch.allclose(made, expected, atol=1e-4)
    if part.any() and not part.bool().all():
        assert not torch.allclose(made, sampled(model, batch, areas=[area], steps=1)[..., rows, columns], atol=1e-4)


def test_areas_of_one_size_share_a_batch_and_each_has_its_own_part_of_the_mask(model):
    """Four quarters, each with a prompt: the same as each alone, with guidance and without."""
    quarters = [(4, 6, top, left) for top in (0, 4) for left in (0, 6)]
    for cfg in (1.0, 4.0):
        together = sampled(patched(model), cfg=cfg, areas=quarters, steps=1)
        for quarter in quarters:
            _, _, top, left = quarter
            part = (..., slice(top, top + 4), slice(left, left + 6))
            alone = sampled(patched(model), cfg=cfg, areas=[quarter], steps=1)
            assert torch.allclose(together[part], alone[part], atol=1e-4)


class Counting(TorchFunctionMode):
    """How often tokens are sorted into background and hole."""

    def __init__(self):
        super().__init__()
        self.sorted = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.sorted += function is torch.Tensor.nonzero and args[0].dtype == torch.bool
        return function(*args, **(kwargs or {}))


def test_tokens_are_sorted_once_a_grid_whatever_the_layers_and_steps(model, monkeypatch):
    monkeypatch.setattr("eradiff_core.attention.FEW", 0)  # on small grids none are sorted
    counts = []
    for steps in (1, 3):
        with Counting() as counting:
            sampled(patched(model, hole(2)), batch=2, cfg=4.0, steps=steps)
        counts.append(counting.sorted)
    # background and hole of two pictures and two prompts, on the grids of two levels and the middle
    assert 0 < counts[0] == counts[1] <= 2 * 4 * 3


@pytest.mark.parametrize("mode", ["rectified", "strict"])
def test_the_patch_may_be_soft_and_softer_as_the_noise_leaves(model, mode: str):
    heads = [x.unflatten(-1, (2, 4)).transpose(1, 2) for x in qkv()]
    tokens = to_tokens(hole()[:, None], LATENT[0] // 2, LATENT[1] // 2)
    for soft, share in (({"softness": 0.3}, 0.3), ({"softness": 0.3, "rising": True}, 0.3 + 0.7 / (1 + 3.0**2))):
        out = replacement(patched(model, mode=mode, **soft), "middle", 0)(*qkv(), options())
        made = attend(*heads, tokens, mode, softness=share).transpose(1, 2).flatten(2)
        assert torch.allclose(out, made, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_the_patch_never_outlives_its_clone(model, cfg: float, batch: int):
    """The same MODEL used by another node afterwards gives the bits it gave before."""
    before = sampled(model, batch, cfg)
    with_patch = sampled(patched(model, hole(batch)), batch, cfg)
    assert torch.equal(sampled(model, batch, cfg), before)
    assert "patches_replace" not in model.model_options["transformer_options"]
    assert (with_patch - before).abs().max() > 1e-4


def test_each_picture_of_a_batch_is_rectified_by_its_own_mask(model):
    both = sampled(patched(model, hole(2)), batch=2, cfg=4.0)
    first, second = (sampled(patched(model, mask[None]), batch=2, cfg=4.0) for mask in hole(2))
    assert torch.allclose(both[0], first[0], atol=1e-4) and torch.allclose(both[1], second[1], atol=1e-4)
    assert not torch.allclose(both[1], first[1], atol=1e-4)


def test_off_gives_the_model_itself(model):
    assert patched(model, mode="off") is model


@pytest.mark.parametrize(("name", "value"), [("mode", "eq10"), ("blocks", "first")])
def test_a_choice_that_is_not_offered_is_refused(model, name, value):
    with pytest.raises(ValueError, match=f"{name} must be one of .*, got '{value}'."):
        patched(model, **{name: value})


def test_a_second_owner_of_the_same_blocks_is_refused(model):
    decoder = patched(model, blocks="decoder")
    patched(decoder, blocks="encoder")
    with pytest.raises(
        ValueError, match=re.escape("model must have its own self-attention, but another node has replaced it")
    ):
        patched(decoder)
    theirs = model.clone()
    theirs.set_model_attn1_replace(lambda q, k, v, options: q, "input", 1, 0)
    with pytest.raises(ValueError, match=re.escape("in block ('input', 1).")):
        patched(theirs)


def test_a_model_that_is_no_unet_is_refused(model):
    other = model.clone()
    other.add_object_patch("diffusion_model", torch.nn.Linear(1, 1))
    for mode in ("rectified", "off"):
        with pytest.raises(
            ValueError, match="model must be a UNet .* or a transformer of FLUX, .*, got Linear, whose order of"
        ):
            patched(other, mode=mode)


def test_an_sdxl_unet_is_patched_in_all_its_depths():
    """Two and ten transformers a block: a patch owns the block, whatever their number."""
    supported = comfy("comfy.supported_models").SDXL
    shape = {"model_channels": 32, "channel_mult": [1, 2], "num_res_blocks": [1, 1], "transformer_depth": [0, 3]}
    shape |= {
        "transformer_depth_middle": 2,
        "transformer_depth_output": [0, 0, 3, 3],
        "context_dim": 64,
        "legacy": False,
    }
    shape |= {
        "in_channels": 4,
        "out_channels": 4,
        "image_size": 32,
        "num_classes": "sequential",
        "adm_in_channels": 2816,
    }
    shape |= {"use_linear_in_transformer": True, "use_spatial_transformer": True, "dtype": torch.float32}
    described = supported(shape)
    described.unet_config |= {"num_head_channels": 16}
    torch.manual_seed(0)
    network = comfy("comfy.model_base").SDXL(described)
    for parameter in network.diffusion_model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    sdxl = comfy("comfy.model_patcher").ModelPatcher(network, torch.device("cpu"), torch.device("cpu"))
    before = sampled(sdxl, cfg=4.0)
    assert before.isfinite().all() and (sampled(patched(sdxl), cfg=4.0) - before).abs().max() > 1e-5
    assert torch.equal(sampled(sdxl, cfg=4.0), before)


@pytest.mark.parametrize("shape", ["n h w", "1 n h w", "n 1 h w"])
def test_several_masks_of_a_single_picture_count_as_one(model, shape: str):
    several = torch.stack([hole()[0], hole()[0].roll(3, -1)])
    given = {"n h w": several, "1 n h w": several[None], "n 1 h w": several[:, None]}[shape]
    out = replacement(patched(model, given), "middle", 0)(*qkv(), options())
    assert torch.allclose(out, expected(*qkv(), several.amax(0)[None]), atol=1e-5)


def test_several_masks_of_each_picture_count_as_one_each(model):
    given = torch.stack([hole(2), hole(2).roll(3, -1)], 1)
    out = replacement(patched(model, given), "middle", 0)(*qkv(2), options())
    assert torch.allclose(out, expected(*qkv(2), given.amax(1)), atol=1e-5)


def test_comfyuis_small_black_mask_leaves_attention_as_it_is(model):
    out = replacement(patched(model, torch.zeros(1, 64, 64)), "middle", 0)(*qkv(), options())
    assert torch.allclose(out, expected(*qkv(), hole(), "off"), atol=1e-5)
