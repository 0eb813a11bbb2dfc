"""Full-size SD1.5-Inpaint and SD2-Inpaint, random weights in real shapes, through ComfyUI's stock loaders and ours."""

from pathlib import Path

import pytest
import torch
from in_comfyui import comfy, load_pack, nodes, room
from safetensors.torch import save_file
from torch import Tensor

from inpainting_core.architecture import SD2_INPAINT, SD15_INPAINT, ModelConfig
from inpainting_core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from inpainting_core.empty_prompt import Prompt, encode_empty_prompt
from inpainting_core.ldm_keys import Slot, unet_layout, vae_layout
from training.networks.text_encoders import clip_shapes

pytestmark = pytest.mark.full


def random_weights(layout: dict[str, Slot]) -> dict[str, Tensor]:
    return {name: 0.02 * torch.randn(slot.shape).half() for name, slot in layout.items()}


def weights_of(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: weight.half() for name, weight in network.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("config", [SD15_INPAINT, SD2_INPAINT], ids=["sd15", "sd2"])
def test_the_exported_file_opens_in_the_stock_loaders_and_in_ours(comfyui: Path, tmp_path: Path, config: ModelConfig):
    load_pack(comfyui)
    nodes()
    sd, unet = comfy("comfy.sd"), random_weights(unet_layout(config.unet))
    prompt = Prompt(torch.randn(1, 77, config.unet.context_dim))
    file = tmp_path / "exported.safetensors"
    write_checkpoint(file, Checkpoint(config, unet, random_weights(vae_layout(config.vae)), prompt))

    # 1. ours
    ours = read_checkpoint(file)
    expected = weights_of(room("model").build_model(ours).model.diffusion_model)
    expected_vae = weights_of(room("model").build_vae(ours).first_stage_model)
    assert len(expected) == len(unet)

    # 2. the stock Load Checkpoint
    model, _, vae, _ = sd.load_checkpoint_guess_config(str(file), output_vae=True, output_clip=False)
    assert model.model.model_type.name == "EPS" and model.model.concat_keys == ("mask", "masked_image")
    assert_same(weights_of(model.model.diffusion_model), expected)
    assert_same(weights_of(vae.first_stage_model), expected_vae)
    del model, vae

    # 3. the stock Load Diffusion Model, on the same file and, for SD1.5, on a UNet in diffusers' names as YOEO's is
    files = [file]
    if config is SD15_INPAINT:
        files.append(tmp_path / "diffusers_names.safetensors")
        save_file(unet, files[-1])
    for path in files:
        model = sd.load_diffusion_model(str(path))
        assert model.model.concat_keys == ("mask", "masked_image")
        assert_same(weights_of(model.model.diffusion_model), expected)
        del model


def test_sdxls_empty_prompt_is_what_comfyuis_clip_text_encode_gives(comfyui: Path, tmp_path: Path):
    """Both of its text encoders at full size: 0.8 billion random weights."""
    load_pack(comfyui)
    nodes()
    first, second = clip_shapes(768, 12), clip_shapes(1280, 32) | {"text_projection.weight": (1280, 1280)}
    texts = [{name: torch.randn(shape).mul_(0.02).half() for name, shape in part.items()} for part in (first, second)]
    files = [tmp_path / name for name in ("l.safetensors", "g.safetensors")]
    for file, text in zip(files, texts, strict=True):
        save_file({name if "projection" in name else f"text_model.{name}": w for name, w in text.items()}, file)
    prompt = encode_empty_prompt(texts, 2048)
    del texts, text
    with torch.inference_mode():
        clip = comfy("comfy.sd").load_clip([str(file) for file in files], model_options={"dtype": torch.float32})
        tokens, pooled = clip.encode_from_tokens(clip.tokenize(""), return_pooled=True)
    assert prompt.tokens.shape == (1, 77, 2048) and prompt.pooled.shape == (1, 1280)
    print(*((a - b).abs().max() / b.abs().max() for a, b in ((tokens, prompt.tokens), (pooled, prompt.pooled))))
    assert (tokens - prompt.tokens).abs().max() < 1e-4 * prompt.tokens.abs().max()
    assert (pooled - prompt.pooled).abs().max() < 1e-4 * prompt.pooled.abs().max()
