"""Where every weight lives: diffusers' name and shape beside the LDM (CompVis) name and shape that ComfyUI reads.

The maps are walked from the shape of the network, so that they hold for SD1.5, SD2, SDXL and our small models alike.
They come in the order in which diffusers registers its parameters: an EMA's unnamed list is zipped with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from inpainting_core.architecture import UNetShape, VAEShape

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3"}
RESNET |= {"time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
VAE_RESNET = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "conv_shortcut": "nin_shortcut"}
VAE_ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}

# The tiny autoencoder's layers: in, block, strided or plain convolution without bias, out; "-" has no weights.
TINY_WIDTH = 64
TINY_ENCODER = "ib" + 3 * "cbbb" + "o"
TINY_DECODER = "i-" + 3 * "bbb-c" + "bo"


@dataclass(frozen=True)
class Slot:
    """A weight's LDM name, and its shape in diffusers and in LDM (they differ in the autoencoder's attention)."""

    ldm: str
    shape: tuple[int, ...]
    ldm_shape: tuple[int, ...]


Slots = Iterator[tuple[str, Slot]]


def unet_layout(shape: UNetShape) -> dict[str, Slot]:
    """diffusers name -> slot of every UNet weight; LDM names without ``model.diffusion_model.``."""
    return dict(_unet(shape))


def vae_layout(shape: VAEShape) -> dict[str, Slot]:
    """diffusers name -> slot of every autoencoder weight; LDM names without ``first_stage_model.``."""
    return dict(_tiny() if shape.kind == "tiny" else _kl(shape))


def unet_keys(shape: UNetShape) -> dict[str, str]:
    """diffusers name -> LDM name."""
    return {ours: slot.ldm for ours, slot in unet_layout(shape).items()}


def vae_keys(shape: VAEShape) -> dict[str, str]:
    """diffusers name -> LDM name, or ComfyUI's TAESD name for the tiny autoencoder."""
    return {ours: slot.ldm for ours, slot in vae_layout(shape).items()}


def _layer(ours: str, ldm: str, *shape: int, bias: bool = True, ldm_shape: tuple[int, ...] = ()) -> Slots:
    yield f"{ours}.weight", Slot(f"{ldm}.weight", shape, ldm_shape or shape)
    if bias:
        yield f"{ours}.bias", Slot(f"{ldm}.bias", shape[:1], shape[:1])


def _unet(shape: UNetShape) -> Slots:
    first, time = shape.channels[0], 4 * shape.channels[0]
    yield from _layer("conv_in", "input_blocks.0.0", first, shape.in_channels, 3, 3)
    yield from _layer("time_embedding.linear_1", "time_embed.0", time, first)
    yield from _layer("time_embedding.linear_2", "time_embed.2", time, time)
    if shape.added_dim:
        yield from _layer("add_embedding.linear_1", "label_emb.0.0", time, shape.added_dim)
        yield from _layer("add_embedding.linear_2", "label_emb.0.2", time, time)
    yield from _unet_down(shape, time)
    yield from _unet_up(shape, time)
    yield from _unet_middle(shape, time)
    yield from _layer("conv_norm_out", "out.0", first)
    yield from _layer("conv_out", "out.2", 4, first, 3, 3)


def _unet_down(shape: UNetShape, time: int) -> Slots:
    width = shape.channels[0]
    for level, (out, depth) in enumerate(zip(shape.channels, shape.blocks, strict=True)):
        ours, block = f"down_blocks.{level}", 1 + level * (shape.layers + 1)
        for j in range(shape.layers if depth else 0):
            yield from _transformer(f"{ours}.attentions.{j}", f"input_blocks.{block + j}.1", out, depth, shape)
        for j in range(shape.layers):
            yield from _resnet(f"{ours}.resnets.{j}", f"input_blocks.{block + j}.0", width, out, RESNET, time)
            width = out
        if level < len(shape.channels) - 1:
            ldm = f"input_blocks.{block + shape.layers}.0.op"
            yield from _layer(f"{ours}.downsamplers.0.conv", ldm, out, out, 3, 3)


def _unet_middle(shape: UNetShape, time: int) -> Slots:
    width = shape.channels[-1]
    yield from _transformer("mid_block.attentions.0", "middle_block.1", width, shape.middle_blocks, shape)
    yield from _resnet("mid_block.resnets.0", "middle_block.0", width, width, RESNET, time)
    yield from _resnet("mid_block.resnets.1", "middle_block.2", width, width, RESNET, time)


def _unet_up(shape: UNetShape, time: int) -> Slots:
    skips, width, last = _skip_widths(shape), shape.channels[-1], len(shape.channels) - 1
    for level, (out, depth) in enumerate(zip(shape.channels[::-1], shape.blocks[::-1], strict=True)):
        ours, block = f"up_blocks.{level}", level * (shape.layers + 1)
        for j in range(shape.layers + 1 if depth else 0):
            yield from _transformer(f"{ours}.attentions.{j}", f"output_blocks.{block + j}.1", out, depth, shape)
        for j in range(shape.layers + 1):
            incoming = width + skips.pop()
            yield from _resnet(f"{ours}.resnets.{j}", f"output_blocks.{block + j}.0", incoming, out, RESNET, time)
            width = out
        if level < last:
            ldm = f"output_blocks.{block + shape.layers}.{2 if depth else 1}.conv"
            yield from _layer(f"{ours}.upsamplers.0.conv", ldm, out, out, 3, 3)


def _skip_widths(shape: UNetShape) -> list[int]:
    """Widths of the connections across, outermost first: the input's, then each level's layers and its halving."""
    inner = [width for width in shape.channels for _ in range(shape.layers + 1)]
    return [shape.channels[0], *inner[:-1]]


def _resnet(ours: str, ldm: str, incoming: int, out: int, names: dict[str, str], time: int | None = None) -> Slots:
    yield from _layer(f"{ours}.norm1", f"{ldm}.{names['norm1']}", incoming)
    yield from _layer(f"{ours}.conv1", f"{ldm}.{names['conv1']}", out, incoming, 3, 3)
    if time is not None:
        yield from _layer(f"{ours}.time_emb_proj", f"{ldm}.{names['time_emb_proj']}", out, time)
    yield from _layer(f"{ours}.norm2", f"{ldm}.{names['norm2']}", out)
    yield from _layer(f"{ours}.conv2", f"{ldm}.{names['conv2']}", out, out, 3, 3)
    if incoming != out:
        yield from _layer(f"{ours}.conv_shortcut", f"{ldm}.{names['conv_shortcut']}", out, incoming, 1, 1)


def _transformer(ours: str, ldm: str, width: int, depth: int, shape: UNetShape) -> Slots:
    projection = (width, width) if shape.linear_projection else (width, width, 1, 1)
    yield from _layer(f"{ours}.norm", f"{ldm}.norm", width)
    yield from _layer(f"{ours}.proj_in", f"{ldm}.proj_in", *projection)
    for number in range(depth):
        block = f"transformer_blocks.{number}"
        yield from _transformer_block(f"{ours}.{block}", f"{ldm}.{block}", width, shape.context_dim)
    yield from _layer(f"{ours}.proj_out", f"{ldm}.proj_out", *projection)


def _transformer_block(ours: str, ldm: str, width: int, context_dim: int) -> Slots:
    for number, context in ((1, width), (2, context_dim)):
        yield from _layer(f"{ours}.norm{number}", f"{ldm}.norm{number}", width)
        for name, source in (("to_q", width), ("to_k", context), ("to_v", context)):
            part = f"attn{number}.{name}"
            yield from _layer(f"{ours}.{part}", f"{ldm}.{part}", width, source, bias=False)
        yield from _layer(f"{ours}.attn{number}.to_out.0", f"{ldm}.attn{number}.to_out.0", width, width)
    yield from _layer(f"{ours}.norm3", f"{ldm}.norm3", width)
    yield from _layer(f"{ours}.ff.net.0.proj", f"{ldm}.ff.net.0.proj", 8 * width, width)
    yield from _layer(f"{ours}.ff.net.2", f"{ldm}.ff.net.2", width, 4 * width)


def _kl(shape: VAEShape) -> Slots:
    first, last = shape.channels[0], shape.channels[-1]
    yield from _layer("encoder.conv_in", "encoder.conv_in", first, 3, 3, 3)
    yield from _kl_levels(shape, "encoder.down_blocks", "encoder.down", "downsample", shape.channels, shape.layers)
    yield from _kl_middle("encoder", last)
    yield from _layer("encoder.conv_norm_out", "encoder.norm_out", last)
    yield from _layer("encoder.conv_out", "encoder.conv_out", 8, last, 3, 3)
    yield from _layer("decoder.conv_in", "decoder.conv_in", last, 4, 3, 3)
    yield from _kl_levels(shape, "decoder.up_blocks", "decoder.up", "upsample", shape.channels[::-1], shape.layers + 1)
    yield from _kl_middle("decoder", last)
    yield from _layer("decoder.conv_norm_out", "decoder.norm_out", first)
    yield from _layer("decoder.conv_out", "decoder.conv_out", 3, first, 3, 3)
    yield from _layer("quant_conv", "quant_conv", 8, 8, 1, 1)
    yield from _layer("post_quant_conv", "post_quant_conv", 4, 4, 1, 1)


def _kl_levels(shape: VAEShape, ours: str, ldm: str, resample: str, channels: tuple[int, ...], layers: int) -> Slots:
    """One half's levels.  LDM counts both halves from the picture inwards, diffusers in the order they run."""
    width, last = channels[0], len(channels) - 1
    for level, out in enumerate(channels):
        theirs = level if resample == "downsample" else last - level
        for j in range(layers):
            yield from _resnet(f"{ours}.{level}.resnets.{j}", f"{ldm}.{theirs}.block.{j}", width, out, VAE_RESNET)
            width = out
        if level < last:
            yield from _layer(f"{ours}.{level}.{resample}rs.0.conv", f"{ldm}.{theirs}.{resample}.conv", out, out, 3, 3)


def _kl_middle(half: str, width: int) -> Slots:
    ours, ldm = f"{half}.mid_block.attentions.0", f"{half}.mid.attn_1"
    yield from _layer(f"{ours}.group_norm", f"{ldm}.norm", width)
    for name, theirs in VAE_ATTENTION.items():
        yield from _layer(f"{ours}.{name}", f"{ldm}.{theirs}", width, width, ldm_shape=(width, width, 1, 1))
    yield from _resnet(f"{half}.mid_block.resnets.0", f"{half}.mid.block_1", width, width, VAE_RESNET)
    yield from _resnet(f"{half}.mid_block.resnets.1", f"{half}.mid.block_2", width, width, VAE_RESNET)


def _tiny() -> Slots:
    """ComfyUI's decoder begins with a clamp, a layer without weights, so its numbers are one higher."""
    yield from _tiny_half("encoder.layers", "taesd_encoder", TINY_ENCODER, incoming=3, out=4, shift=0)
    yield from _tiny_half("decoder.layers", "taesd_decoder", TINY_DECODER, incoming=4, out=3, shift=1)


def _tiny_half(ours: str, ldm: str, plan: str, incoming: int, out: int, shift: int) -> Slots:
    kernels = {"i": (TINY_WIDTH, incoming), "c": (TINY_WIDTH, TINY_WIDTH), "o": (out, TINY_WIDTH)}
    for number, kind in enumerate(plan):
        name, theirs = f"{ours}.{number}", f"{ldm}.{number + shift}"
        if kind == "b":
            for part in (0, 2, 4):
                yield from _layer(f"{name}.conv.{part}", f"{theirs}.conv.{part}", TINY_WIDTH, TINY_WIDTH, 3, 3)
        elif kind != "-":
            yield from _layer(name, theirs, *kernels[kind], 3, 3, bias=kind != "c")
