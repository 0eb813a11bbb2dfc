"""Our page of CLIP against transformers' own, in every family's names, activations and outputs."""

import pytest
import torch
from torch import Tensor

from inpainting_core import empty_prompt
from inpainting_core.empty_prompt import END, LENGTH, START, TextEncoder, encode_empty_prompt, text_weights

WIDTH, LAYERS, POOLED = 128, 2, 48
CLIP_L, SD2 = TextEncoder(LAYERS, END, "quick_gelu"), TextEncoder(LAYERS, 0, "gelu")
XL_FIRST = TextEncoder(LAYERS - 1, END, "quick_gelu", normed=False)
XL_SECOND = TextEncoder(LAYERS - 1, 0, "gelu", normed=False, pooled=True)
FAMILIES = {"sd15": (CLIP_L,), "sd2": (SD2,), "sdxl": (XL_FIRST, XL_SECOND)}


def reference(encoder: TextEncoder) -> torch.nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    heads = WIDTH // empty_prompt.HEAD_DIM
    sizes = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": heads}
    sizes |= {"num_hidden_layers": LAYERS, "projection_dim": POOLED}
    model = CLIPTextModelWithProjection(CLIPTextConfig(**sizes, hidden_act=encoder.activation)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@torch.no_grad()
def expected_of(encoder: TextEncoder, model: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """The tokens and the pooled vector as diffusers' pipelines take them out of transformers' model."""
    tokens = torch.tensor([[START, END] + [encoder.pad] * (LENGTH - 2)])
    output = model(tokens, output_hidden_states=True)
    return output.last_hidden_state if encoder.normed else output.hidden_states[-2], output.text_embeds


def plain_names(model: torch.nn.Module) -> dict[str, Tensor]:
    return {key.removeprefix("text_model."): value for key, value in model.state_dict().items()}


def with_prefix(model: torch.nn.Module) -> dict[str, Tensor]:
    return {key if key.startswith("text_proj") else f"text_model.{key}": w for key, w in plain_names(model).items()}


def openclip_names(model: torch.nn.Module) -> dict[str, Tensor]:
    """The same weights as OpenCLIP stores them: its own names, q, k and v in one matrix, one layer too many."""
    weights, renames = plain_names(model), {ours: theirs for theirs, ours in empty_prompt.OPENCLIP}
    named = {"text_projection": weights.pop("text_projection.weight").T}
    for key, value in weights.items():
        if "_proj" in key and "out_proj" not in key:
            continue
        for ours, theirs in renames.items():
            key = key.replace(ours, theirs)
        named[key] = value
    for number in range(LAYERS):
        for kind in ("weight", "bias"):
            parts = [weights[f"encoder.layers.{number}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            named[f"transformer.resblocks.{number}.attn.in_proj_{kind}"] = torch.cat(parts)
    extra = {key.replace("blocks.1.", f"blocks.{LAYERS}."): value for key, value in named.items() if "blocks.1." in key}
    return named | extra | {"logit_scale": torch.ones(())}


@pytest.mark.parametrize("names", [plain_names, with_prefix, openclip_names])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_empty_prompt_is_transformers(monkeypatch: pytest.MonkeyPatch, family: str, names):
    encoders = FAMILIES[family]
    monkeypatch.setitem(empty_prompt.ENCODERS, len(encoders) * WIDTH, encoders)
    models = [reference(encoder) for encoder in encoders]
    expected = [expected_of(encoder, model) for encoder, model in zip(encoders, models, strict=True)]
    prompt = encode_empty_prompt([names(model) for model in models], len(encoders) * WIDTH)
    tokens = torch.cat([tokens for tokens, _ in expected], dim=-1)
    difference = (prompt.tokens - tokens).abs().max()
    print(f"{family}: tokens differ by {difference:.1e} of {tokens.abs().max():.1f}")
    assert difference <= 1e-5 * tokens.abs().max()
    if family == "sdxl":
        torch.testing.assert_close(prompt.pooled, expected[-1][1], rtol=1e-4, atol=1e-4)
    else:
        assert prompt.pooled is None


def test_what_is_read_of_the_published_encoders():
    """CLIP-L has 12 layers, OpenCLIP H 24 and bigG 32; SD2 and SDXL leave out the last."""
    layers = {width: [encoder.layers for encoder in encoders] for width, encoders in empty_prompt.ENCODERS.items()}
    assert layers == {768: [12], 1024: [23], 2048: [11, 31]}
    normed = {width: [encoder.normed for encoder in encoders] for width, encoders in empty_prompt.ENCODERS.items()}
    assert normed == {768: [True], 1024: [True], 2048: [False, False]}


def test_text_encoders_are_found_in_a_single_file():
    value = torch.zeros(1)
    for prefix in empty_prompt.SINGLE_FILE:
        assert text_weights({prefix + "a.weight": value, "betas": value}) == [{"a.weight": value}]
    sdxl = {"conditioner.embedders.1.model.b": value, "conditioner.embedders.0.transformer.a": value}
    assert text_weights(sdxl) == [{"a": value}, {"b": value}]
    assert text_weights({"betas": value}) == []


def test_an_unknown_width_is_refused():
    with pytest.raises(ValueError, match=r"the text encoder's width must be one of \(768, 1024, 2048\), got 5."):
        encode_empty_prompt([{}], 5)


def test_another_number_of_encoders_is_refused():
    with pytest.raises(ValueError, match="text encoders for a width of 2048 must be 2, got 1."):
        encode_empty_prompt([{}], 2048)
