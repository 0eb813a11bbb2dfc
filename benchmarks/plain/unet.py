"""Stable Diffusion's UNet in torch alone, called and its weights named as diffusers' are.

It is what our engine, losses and benchmarks ask of a ``UNet2DConditionModel`` and no more; a test holds the two
together.  Sources: Rombach et al. 2022 (arXiv 2112.10752), SDXL (arXiv 2307.01952).
"""

import math
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain.layers import Double, Halve, Network, Resnet, Transformer
from inpainting_core.architecture import GROUPS, SIZE_DIM, UNetShape
from inpainting_core.shapes import Float

SLOWEST = 10_000  # of a timestep's waves


class Output(NamedTuple):
    """As diffusers' networks answer."""

    sample: Tensor


class PlainUNet(Network):
    """A UNet of the given shape with fresh weights."""

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        first, last, time = shape.channels[0], len(shape.channels) - 1, 4 * shape.channels[0]
        self.first, self.conv_in = first, nn.Conv2d(shape.in_channels, first, 3, padding=1)
        self.time_embedding = Embedding(first, time)
        self.add_embedding = Embedding(shape.added_dim, time) if shape.added_dim else None
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        width, skips = first, [first]
        for level, (out, depth) in enumerate(zip(shape.channels, shape.blocks, strict=True)):
            widths = [width, *[out] * (shape.layers - 1)]
            self.down_blocks.append(Down(widths, out, depth, shape, halve=level < last))
            skips += [out] * (shape.layers + (level < last))
            width = out
        self.mid_block = Middle(width, shape)
        for level, (out, depth) in reversed(list(enumerate(zip(shape.channels, shape.blocks, strict=True)))):
            widths = [before + skips.pop() for before in (width, *[out] * shape.layers)]
            self.up_blocks.append(Up(widths, out, depth, shape, double=level > 0))
            width = out
        self.conv_norm_out, self.conv_out = nn.GroupNorm(GROUPS, first), nn.Conv2d(first, 4, 3, padding=1)

    def forward(
        self,
        sample: Float[Tensor, "b c h w"],
        timestep: Tensor,
        encoder_hidden_states: Float[Tensor, "b n k"],
        added_cond_kwargs: dict[str, Tensor] | None = None,
    ) -> Output:
        """What the network predicts, ``[b, 4, h, w]``."""
        time = self.time_embedding(self.get_time_embed(sample, timestep))
        if self.add_embedding is not None:
            time = time + self.get_aug_embed(time, encoder_hidden_states, added_cond_kwargs)
        skips = [hidden := self.conv_in(sample)]
        for block in self.down_blocks:
            hidden, passed = block(hidden, time, encoder_hidden_states)
            skips += passed
        hidden = self.mid_block(hidden, time, encoder_hidden_states)
        for block in self.up_blocks:
            hidden = block(hidden, skips, time, encoder_hidden_states)
        return Output(self.conv_out(F.silu(self.conv_norm_out(hidden))))

    def get_time_embed(self, sample: Tensor, timestep: Tensor) -> Float[Tensor, "b c"]:
        return waves(timestep.expand(len(sample)), self.first).to(sample.dtype)

    def get_aug_embed(self, emb: Tensor, encoder_hidden_states: Tensor, added_cond_kwargs: dict[str, Tensor]) -> Tensor:
        """What SDXL is told besides: the pooled text and the picture's sizes."""
        sizes = waves(added_cond_kwargs["time_ids"].flatten(), SIZE_DIM).view(len(emb), -1)
        return self.add_embedding(torch.cat([added_cond_kwargs["text_embeds"], sizes], -1).to(emb.dtype))


class Embedding(nn.Module):
    def __init__(self, incoming: int, width: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(incoming, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


class Level(nn.Module):
    """Residual layers, each followed by a transformer where the level has ``depth``."""

    def __init__(self, widths: list[int], out: int, depth: int, shape: UNetShape) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(width, out, 4 * shape.channels[0]) for width in widths)
        self.attentions = nn.ModuleList(Transformer(out, depth, shape) for _ in widths if depth)


class Down(Level):
    def __init__(self, widths: list[int], out: int, depth: int, shape: UNetShape, halve: bool) -> None:
        super().__init__(widths, out, depth, shape)
        self.downsamplers = nn.ModuleList([Halve(out)] if halve else [])

    def forward(self, hidden: Tensor, time: Tensor, encoder_hidden_states: Tensor) -> tuple[Tensor, list[Tensor]]:
        passed = []
        for resnet, attention in zip_longest(self.resnets, self.attentions):
            hidden = resnet(hidden, time)
            hidden = hidden if attention is None else attention(hidden, encoder_hidden_states)
            passed.append(hidden)
        for halve in self.downsamplers:
            passed.append(hidden := halve(hidden))
        return hidden, passed


class Middle(nn.Module):
    def __init__(self, width: int, shape: UNetShape) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(width, width, 4 * shape.channels[0]) for _ in range(2))
        self.attentions = nn.ModuleList([Transformer(width, shape.middle_blocks, shape)])

    def forward(self, hidden: Tensor, time: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        hidden = self.attentions[0](self.resnets[0](hidden, time), encoder_hidden_states)
        return self.resnets[1](hidden, time)


class Up(Level):
    def __init__(self, widths: list[int], out: int, depth: int, shape: UNetShape, double: bool) -> None:
        super().__init__(widths, out, depth, shape)
        self.upsamplers = nn.ModuleList([Double(out)] if double else [])

    def forward(self, hidden: Tensor, skips: list[Tensor], time: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        """Takes its own from the end of ``skips``."""
        for resnet, attention in zip_longest(self.resnets, self.attentions):
            hidden = resnet(torch.cat([hidden, skips.pop()], 1), time)
            hidden = hidden if attention is None else attention(hidden, encoder_hidden_states)
        for double in self.upsamplers:
            hidden = double(hidden, skips[-1].shape[-2:])
        return hidden


def waves(timesteps: Tensor, width: int) -> Float[Tensor, "n {width}"]:
    """Cosines and sines of a number, from fast to slow (Vaswani et al. 2017)."""
    frequencies = torch.exp(-math.log(SLOWEST) * torch.arange(width // 2, device=timesteps.device) / (width // 2))
    angles = timesteps.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)
