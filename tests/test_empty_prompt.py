"""Our page of CLIP against transformers' own, in both families' names and activations."""

import pytest
import torch
from torch import Tensor

from eradiff_core.inpainting import empty_prompt
from eradiff_core.inpainting.empty_prompt import END, LENGTH, START, TextEncoder, encode_empty_prompt, text_weights

WIDTH, LAYERS = 128, 2
FAMILIES = {"sd15": TextEncoder(LAYERS, END, "quick_gelu"), "sd2": TextEncoder(LAYERS, 0, "gelu")}


def reference(encoder: TextEncoder) -> torch.nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel

    heads = WIDTH // empty_prompt.HEAD_DIM
    sizes = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": heads}
    model = CLIPTextModel(CLIPTextConfig(**sizes, num_hidden_layers=LAYERS, hidden_act=encoder.activation)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def openclip_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as OpenCLIP stores them: its own names, q, k and v in one matrix, one layer too many."""
    renames = {ours: theirs for theirs, ours in empty_prompt.OPENCLIP}
    named = {}
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


@pytest.mark.parametrize("family", FAMILIES)
def test_the_empty_prompt_is_transformers(monkeypatch: pytest.MonkeyPatch, family: str):
    encoder = FAMILIES[family]
    monkeypatch.setitem(empty_prompt.ENCODERS, WIDTH, encoder)
    model = reference(encoder)
    tokens = torch.tensor([[START, END] + [encoder.pad] * (LENGTH - 2)])
    with torch.no_grad():
        expected = model(tokens).last_hidden_state
    weights = {key.removeprefix("text_model."): value for key, value in model.state_dict().items()}
    for names in (weights, {f"text_model.{key}": value for key, value in weights.items()}, openclip_names(weights)):
        assert (encode_empty_prompt(names, WIDTH) - expected).abs().max() < 1e-4


def test_a_text_encoder_is_found_in_a_single_file():
    value = torch.zeros(1)
    for prefix in empty_prompt.SINGLE_FILE:
        assert text_weights({prefix + "a.weight": value, "betas": value}) == {"a.weight": value}
    assert text_weights({"betas": value}) == {}


def test_an_unknown_width_is_refused():
    with pytest.raises(ValueError, match=r"the text encoder's width must be one of \(768, 1024\), got 5."):
        encode_empty_prompt({}, 5)
