"""The name maps: against diffusers' own modules, in names, shapes and order, and against LDM's landmarks."""

import pytest
import torch
from tiny import KL, NANO, TINY, UNET, UNET_LIKE_SD2, UNET_LIKE_SD15, UNET_LIKE_SDXL

from inpainting_core.architecture import SD2_INPAINT, SD15_INPAINT, SDXL_INPAINT, UNetShape, VAEShape
from inpainting_core.engine import build_unet, build_vae
from inpainting_core.ldm_keys import unet_keys, unet_layout, vae_keys, vae_layout

UNETS = [UNET, UNET_LIKE_SD15, UNET_LIKE_SD2, UNET_LIKE_SDXL, NANO]
UNETS += [SD15_INPAINT.unet, SD2_INPAINT.unet, SDXL_INPAINT.unet]
VAES = [KL, TINY, VAEShape(), VAEShape(channels=(32, 64), layers=3)]


def parameters(module: torch.nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(value.shape)) for name, value in module.named_parameters()]


@pytest.mark.parametrize("shape", UNETS)
def test_unet_layout_has_diffusers_names_shapes_and_order(shape: UNetShape):
    with torch.device("meta"):
        expected = parameters(build_unet(shape))
    assert [(ours, slot.shape) for ours, slot in unet_layout(shape).items()] == expected


@pytest.mark.parametrize("shape", VAES)
def test_vae_layout_has_diffusers_names_and_shapes(shape: VAEShape):
    with torch.device("meta"):
        expected = parameters(build_vae(shape))
    assert {ours: slot.shape for ours, slot in vae_layout(shape).items()} == dict(expected)


@pytest.mark.parametrize("shape", UNETS)
def test_unet_keys_are_one_to_one(shape: UNetShape):
    keys = unet_keys(shape)
    assert len(set(keys.values())) == len(keys)


@pytest.mark.parametrize("shape", VAES)
def test_vae_keys_are_one_to_one(shape: VAEShape):
    keys = vae_keys(shape)
    assert len(set(keys.values())) == len(keys)


@pytest.mark.parametrize(
    ("ours", "ldm"),
    [
        ("time_embedding.linear_2.bias", "time_embed.2.bias"),
        ("down_blocks.0.downsamplers.0.conv.weight", "input_blocks.3.0.op.weight"),
        ("down_blocks.3.resnets.1.time_emb_proj.weight", "input_blocks.11.0.emb_layers.1.weight"),
        ("mid_block.resnets.1.norm2.weight", "middle_block.2.out_layers.0.weight"),
        ("up_blocks.0.upsamplers.0.conv.bias", "output_blocks.2.1.conv.bias"),
        ("up_blocks.1.upsamplers.0.conv.bias", "output_blocks.5.2.conv.bias"),
        ("up_blocks.3.attentions.2.proj_out.weight", "output_blocks.11.1.proj_out.weight"),
        ("up_blocks.3.resnets.2.conv_shortcut.weight", "output_blocks.11.0.skip_connection.weight"),
        ("conv_out.weight", "out.2.weight"),
    ],
)
def test_landmarks_of_sd15(ours: str, ldm: str):
    assert unet_keys(SD15_INPAINT.unet)[ours] == ldm


@pytest.mark.parametrize(
    ("ours", "ldm"),
    [
        ("add_embedding.linear_1.weight", "label_emb.0.0.weight"),
        ("add_embedding.linear_2.bias", "label_emb.0.2.bias"),
        (
            "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k.weight",
            "input_blocks.4.1.transformer_blocks.1.attn2.to_k.weight",
        ),
        ("down_blocks.2.attentions.1.proj_in.weight", "input_blocks.8.1.proj_in.weight"),
        (
            "mid_block.attentions.0.transformer_blocks.9.norm3.bias",
            "middle_block.1.transformer_blocks.9.norm3.bias",
        ),
        ("up_blocks.0.upsamplers.0.conv.weight", "output_blocks.2.2.conv.weight"),
        (
            "up_blocks.0.attentions.2.transformer_blocks.9.ff.net.0.proj.weight",
            "output_blocks.2.1.transformer_blocks.9.ff.net.0.proj.weight",
        ),
        ("up_blocks.2.resnets.2.conv_shortcut.weight", "output_blocks.8.0.skip_connection.weight"),
    ],
)
def test_landmarks_of_sdxl(ours: str, ldm: str):
    assert unet_keys(SDXL_INPAINT.unet)[ours] == ldm


@pytest.mark.parametrize(
    ("ours", "ldm"),
    [
        ("encoder.down_blocks.2.downsamplers.0.conv.weight", "encoder.down.2.downsample.conv.weight"),
        ("decoder.up_blocks.0.resnets.2.conv1.weight", "decoder.up.3.block.2.conv1.weight"),
        ("decoder.up_blocks.2.upsamplers.0.conv.weight", "decoder.up.1.upsample.conv.weight"),
        ("encoder.mid_block.resnets.1.conv1.bias", "encoder.mid.block_2.conv1.bias"),
        ("decoder.mid_block.attentions.0.to_out.0.bias", "decoder.mid.attn_1.proj_out.bias"),
    ],
)
def test_landmarks_of_the_autoencoder(ours: str, ldm: str):
    assert vae_keys(VAEShape())[ours] == ldm


def test_the_autoencoders_attention_is_a_convolution_in_ldm():
    slot = vae_layout(VAEShape())["encoder.mid_block.attentions.0.to_q.weight"]
    assert (slot.shape, slot.ldm_shape) == ((512, 512), (512, 512, 1, 1))


def test_the_tiny_decoders_numbers_are_one_higher_in_comfyui():
    keys = vae_keys(TINY)
    assert keys["encoder.layers.14.bias"] == "taesd_encoder.14.bias"
    assert keys["decoder.layers.0.weight"] == "taesd_decoder.1.weight"
    assert keys["decoder.layers.18.bias"] == "taesd_decoder.19.bias"
