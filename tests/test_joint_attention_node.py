"""Self-Rectifying Attention in transformers of ComfyUI's own classes, against a mask over all pairs of tokens."""

import logging
import re
from itertools import count

import pytest
import torch
from in_comfyui import comfy, nodes, room
from tiny_transformers import FAMILIES, channels, tiny_transformer
from torch.nn.functional import scaled_dot_product_attention

pytestmark = pytest.mark.usefixtures("in_comfyui")

LATENT = (9, 12)  # of an odd height: the last row of tokens is filled up
TEXT = 5
SOFT = {"softness": 0.3}
RISING = {"softness": 0.3, "rising": True}


@pytest.fixture(scope="module")
def models(in_comfyui):
    return {name: tiny_transformer(name) for name in FAMILIES}


def cells(name: str) -> int:
    """How many pixels each way a number of the latent stands for."""
    return 16 if name == "FLUX.2" else 8


def drawn(name: str, pictures: int = 1) -> torch.Tensor:
    """A pixel mask with the hole in another place for each picture."""
    cell = cells(name)
    mask = torch.zeros(pictures, cell * LATENT[0], cell * LATENT[1])
    for picture in range(pictures):
        mask[picture, 3 * cell : 6 * cell, (2 + 3 * picture) * cell : (6 + 3 * picture) * cell] = 1
    return mask


def node(model, mask, mode="rectified", blocks="all", start=0.0, end=1.0, **soft):
    return nodes()["EraseOnceSRA"].execute(model, mask, mode, blocks, start, end, **soft)[0]


def sampled(model, name, pictures: int = 1, cfg: float = 1.0, references=(), steps: int = 2, first=1.0, **told):
    """Some Euler steps; prompt and negative of one length, so that they share a call."""
    generator = torch.Generator().manual_seed(1)
    shape = (1, *LATENT) if name == "Qwen-Image" else LATENT
    noise = torch.randn(pictures, channels(name), *shape, generator=generator)
    given = {"pooled_output": torch.zeros(1, FAMILIES[name][1].get("vec_in_dim") or 2048)} | told
    given |= {"reference_latents": list(references)} if references else {}
    prompts = [[[torch.randn(1, TEXT, 24, generator=generator), given]] for _ in range(2)]
    sigmas = torch.tensor([first, *[0.8 / step for step in range(1, steps)], 0.0])
    sampler = comfy("comfy.samplers").sampler_object("euler")
    return comfy("comfy.sample").sample_custom(model, noise, cfg, sampler, sigmas, *prompts, torch.zeros_like(noise))


def reference_of(name: str, *size: int) -> torch.Tensor:
    shape = (1, *size) if name == "Qwen-Image" else size
    return torch.randn(1, channels(name), *shape, generator=torch.Generator().manual_seed(3))


def hole_of(name: str, mask: torch.Tensor, tokens: int, call: int) -> torch.Tensor:
    """Which of a call's tokens are hole, by the family's order of them and of its calls."""
    cell, token = cells(name), 16
    height, width = -(-LATENT[0] * cell // token), -(-LATENT[1] * cell // token)
    canvas = torch.zeros(len(mask), height, width, dtype=torch.bool)
    for y in range(height):
        for x in range(width):
            canvas[:, y, x] = mask[:, token * y : token * (y + 1), token * x : token * (x + 1)].amax((1, 2)) > 0
    start = TEXT
    if name == "FLUX.2":
        start = 512  # ComfyUI fills its text up
    if name == "Z-Image":
        start = 32
    hole = torch.zeros(len(mask), tokens, dtype=torch.bool)
    if name in ("Z-Image", "Lumina 2") and call % 6 < 2:
        return hole  # the text alone; then come two layers of the picture alone, and two of both
    if name in ("Z-Image", "Lumina 2", "SD3.5 medium") and tokens < start + height * width:
        start = 0  # the picture alone
    hole[:, start : start + height * width] = canvas.flatten(1)
    return hole


def with_dense_mask(model, name: str, pixels: torch.Tensor, mode: str = "rectified", weight=lambda s: 0.0):
    """The model with the same rule as one number for each pair of tokens."""
    calls = count()

    def dense(func, q, k, v, heads, mask=None, *, skip_reshape=False, transformer_options=None, **_):
        if not skip_reshape:
            q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (q, k, v))
        hole = hole_of(name, pixels, q.shape[2], next(calls))
        hole = hole.repeat(len(q) // len(hole), 1)
        blocked = hole[:, None, :] & (hole[:, :, None] if mode == "rectified" else torch.tensor(True))
        log = torch.tensor(weight(float(transformer_options["sigmas"][0]))).log()
        own = torch.zeros(1) if mask is None else mask
        out = scaled_dot_product_attention(q, k, v, own + torch.where(blocked, log, 0.0)[:, None])
        return out.transpose(1, 2).flatten(2)

    dense_model = model.clone()
    dense_model.model_options["transformer_options"]["optimized_attention_override"] = dense
    return dense_model


def agree(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(one.isfinite().all()) and torch.allclose(one, other, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_rectified_as_a_mask_over_all_pairs_would(models, name: str):
    model, mask = models[name], drawn(name, 2)
    plain = sampled(model, name, 2, cfg=3.0)
    for mode, soft, weight in (
        ("rectified", {}, lambda s: 0.0),
        ("strict", {}, lambda s: 0.0),
        ("rectified", SOFT, lambda s: 0.3),
        ("strict", RISING, lambda s: 0.3 + 0.7 * (1 - s) ** 2 / ((1 - s) ** 2 + s**2)),
    ):
        made = sampled(node(model, mask, mode, **soft), name, 2, cfg=3.0)
        expected = sampled(with_dense_mask(model, name, mask, mode, weight), name, 2, cfg=3.0)
        assert agree(made, expected)
        assert not agree(made, plain)
    assert torch.equal(sampled(model, name, 2, cfg=3.0), plain), "the MODEL itself stays as it was"


@pytest.mark.parametrize("name", ["FLUX.1", "FLUX.2", "Qwen-Image"])
def test_reference_pictures_are_told_from_the_canvas(models, name: str):
    """FLUX Kontext's and Qwen's edit models' come behind the canvas, in single-stream blocks as in double."""
    model, mask = models[name], drawn(name)
    references = [reference_of(name, 8, 6), reference_of(name, *LATENT)]
    made = sampled(node(model, mask), name, references=references)
    assert agree(made, sampled(with_dense_mask(model, name, mask), name, references=references))
    assert not agree(made, sampled(node(model, mask), name))


@pytest.mark.parametrize("mode", ["rectified", "strict"])
@pytest.mark.parametrize("soft", [{}, SOFT], ids=["hard", "soft"])
def test_a_mask_of_the_networks_own_is_added(models, mode: str, soft: dict):
    """FLUX Redux weighs the tokens of its picture by one."""
    model, mask, tokens = models["FLUX.1"], drawn("FLUX.1", 2), TEXT + 5 * 6
    own = torch.randn(1, tokens, tokens, generator=torch.Generator().manual_seed(4))
    told = {"attention_mask": own, "attention_mask_img_shape": (5, 6)}
    made = sampled(node(model, mask, mode, **soft), "FLUX.1", 2, **told)
    dense = with_dense_mask(model, "FLUX.1", mask, mode, lambda s: soft.get("softness", 0.0))
    assert agree(made, sampled(dense, "FLUX.1", 2, **told))
    assert not agree(made, sampled(node(model, mask, mode, **soft), "FLUX.1", 2))


def test_it_works_between_its_two_points_only(models):
    model, mask = models["FLUX.1"], drawn("FLUX.1")
    plain, whole = sampled(model, "FLUX.1"), sampled(node(model, mask), "FLUX.1")
    border = model.get_model_object("model_sampling").percent_to_sigma(0.3)
    assert 0.8 < border < 1  # between the two steps that are sampled
    assert torch.equal(sampled(node(model, mask, start=0.3, end=0.3), "FLUX.1"), plain)
    halves = [sampled(node(model, mask, **half), "FLUX.1") for half in ({"start": 0.3}, {"end": 0.3})]
    dense = with_dense_mask(model, "FLUX.1", mask, weight=lambda s: 0.0 if s > border else 1.0)
    assert agree(halves[1], sampled(dense, "FLUX.1"))
    assert not any(agree(half, other) for half in halves for other in (plain, whole))


def test_from_the_start_means_from_the_noisiest_level_there_is(models):
    """ComfyUI's shift of 1.32 rounds that to a little above 1, which is what it says 0 % is."""
    model, mask, sampling = models["SD3"].clone(), drawn("SD3"), comfy("comfy.model_sampling")
    shifted = type("Shifted", (sampling.ModelSamplingDiscreteFlow, sampling.CONST), {})(None)
    shifted.set_parameters(shift=1.32)
    model.add_object_patch("model_sampling", shifted)
    first = float(shifted.sigma_max)
    assert first > shifted.percent_to_sigma(0.0)
    made = sampled(node(model, mask), "SD3", steps=1, first=first)
    assert agree(made, sampled(with_dense_mask(model, "SD3", mask), "SD3", steps=1, first=first))
    assert not agree(made, sampled(model, "SD3", steps=1, first=first))


def test_a_prompt_for_an_area_is_rectified_by_what_of_the_mask_lies_in_it(models):
    model, (height, width, top, left) = models["SD3"], (6, 8, 2, 4)
    area = {"area": (height, width, top, left)}
    rows, columns = slice(top, top + height), slice(left, left + width)
    mask = drawn("SD3")
    part = torch.zeros_like(mask)
    part[:, 8 * top : 8 * (top + height), 8 * left : 8 * (left + width)] = 1
    made = sampled(node(model, mask), "SD3", steps=1, **area)
    assert agree(made, sampled(node(model, mask * part), "SD3", steps=1, **area))
    assert not agree(made[..., rows, columns], sampled(model, "SD3", steps=1, **area)[..., rows, columns])


def test_other_nodes_attention_computes_what_ours_asks_whichever_came_first(models):
    model, mask, asked = models["FLUX.1"], drawn("FLUX.1"), []

    def theirs(func, *args, **kwargs):
        asked.append(args[0].shape[2])
        return func(*args, **kwargs)

    def with_theirs(model):
        patched = model.clone()
        patched.model_options["transformer_options"]["optimized_attention_override"] = theirs
        return patched

    expected = sampled(node(model, mask), "FLUX.1")
    for both in (with_theirs(node(model, mask)), node(with_theirs(model), mask)):
        asked.clear()
        assert torch.equal(sampled(both, "FLUX.1"), expected)
        hole = int(hole_of("FLUX.1", mask, TEXT + 30, 0).sum())
        assert asked == [TEXT + 30 - hole, hole] * 2 * 2  # background and hole, in two blocks, in two steps


def test_a_lora_under_it_works_and_ends_with_its_clone(models):
    model, mask = models["Qwen-Image"], drawn("Qwen-Image")
    plain, rectified = sampled(model, "Qwen-Image"), sampled(node(model, mask), "Qwen-Image")
    with_lora = node(model, mask)
    key = "diffusion_model.transformer_blocks.0.attn.to_q.weight"
    with_lora.add_patches({key: ("diff", (torch.full((32, 32), 0.1),))}, 1.0)
    assert not agree(sampled(with_lora, "Qwen-Image"), rectified)
    assert torch.equal(sampled(node(model, mask), "Qwen-Image"), rectified)
    assert torch.equal(sampled(model, "Qwen-Image"), plain)


def test_merged_tokens_get_plain_attention_and_one_warning(models, caplog):
    model, mask = models["SD3"].clone(), drawn("SD3")

    def every_other(args: dict, original: dict) -> dict:
        out = original["original_block"](args | {"img": args["img"][:, ::2]})
        return out | {"img": out["img"].repeat_interleave(2, 1)}

    model.set_model_patch_replace(every_other, "dit", "double_block", 0)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(sampled(node(model, mask), "SD3"), sampled(model, "SD3"))
    assert [record.message for record in caplog.records if "Erase Once" in record.message] == [
        "Erase Once: 20 tokens do not hold 30 of the picture, so plain attention is used."
    ]


def test_several_frames_share_the_mask(in_comfyui):
    canvas = room("layouts").Layout(2).canvas(torch.zeros(1, 16, 3, 8, 6), [torch.zeros(1, 16, 1, 5, 3)])
    assert (canvas.tokens, canvas.after) == (3 * 4 * 3, 3 * 2)


def test_off_gives_the_model_itself_and_what_makes_no_sense_is_refused(models):
    model, mask = models["FLUX.1"], drawn("FLUX.1")
    assert node(model, mask, mode="off") is model
    with pytest.raises(ValueError, match="blocks must be all for a transformer, .*, got decoder. Choose all."):
        node(model, mask, blocks="decoder")
    with pytest.raises(ValueError, match=re.escape("another Self-Rectifying Attention has replaced it.")):
        node(node(model, mask), mask)
    about = f"mask must have the picture's aspect ratio, about {16 * LATENT[1]} x {16 * LATENT[0]}, got"
    with pytest.raises(ValueError, match=about):
        sampled(node(models["FLUX.2"], drawn("FLUX.2").mT), "FLUX.2")


def test_a_transformer_whose_tokens_are_not_known_is_refused_by_name(models):
    class Chroma(torch.nn.Module):
        pass

    class Flux(comfy("comfy.ldm.flux.model").Flux):
        """A subclass may order its tokens in any way."""

    for network in (Chroma(), Flux.__new__(Flux)):
        other = models["FLUX.1"].clone()
        other.add_object_patch("diffusion_model", network)
        name = type(network).__name__
        with pytest.raises(ValueError, match=f"got {name}, whose order of tokens is not known"):
            node(other, drawn("FLUX.1"))


def test_reference_pictures_in_a_place_not_known_are_refused(models):
    layout = room("layouts").layout_of(models["Z-Image"].get_model_object("diffusion_model"))
    with pytest.raises(ValueError, match="where Z-Image keeps them is not known, got 1. Take the reference latents"):
        layout.canvas(torch.zeros(1, 16, *LATENT), [torch.zeros(1, 16, *LATENT)])
