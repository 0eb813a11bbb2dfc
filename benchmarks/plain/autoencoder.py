"""Stable Diffusion's autoencoder and the tiny one in torch alone, called and named as diffusers' are.

Sources: Rombach et al. 2022 (arXiv 2112.10752), madebyollin's TAESD.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain.layers import Attention, Double, Halve, Network, Resnet, to_picture, to_tokens
from benchmarks.plain.unet import Output
from inpainting_core.architecture import GROUPS, VAEShape
from inpainting_core.ldm_keys import TINY_DECODER, TINY_ENCODER, TINY_WIDTH
from inpainting_core.shapes import Float

EPS = 1e-6  # of the norms


@dataclass(frozen=True, eq=False)
class Code:
    """As diffusers' autoencoders encode; the tiny one's latents are ``latents``."""

    latents: Tensor

    @property
    def latent_dist(self) -> "Code":
        return self

    def mode(self) -> Tensor:
        return self.latents


class PlainAutoencoder(Network):
    """The KL autoencoder; pictures in [-1, 1], latents in its own units."""

    def __init__(self, shape: VAEShape) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(shape), Decoder(shape)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1)

    def encode(self, picture: Float[Tensor, "b 3 h w"]) -> Code:
        """The most likely latent alone: nothing here draws one."""
        return Code(self.quant_conv(self.encoder(picture))[:, :4])

    def decode(self, latent: Float[Tensor, "b 4 h w"]) -> Output:
        return Output(self.decoder(self.post_quant_conv(latent)))


class Encoder(nn.Module):
    def __init__(self, shape: VAEShape) -> None:
        super().__init__()
        widths = (shape.channels[0], *shape.channels)
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            Level(incoming, out, shape.layers) for incoming, out in zip(widths[:-1], widths[1:], strict=True)
        )
        for block, out in zip(self.down_blocks[:-1], shape.channels[:-1], strict=True):
            block.downsamplers = nn.ModuleList([Halve(out, uneven=True)])
        self.mid_block = Middle(widths[-1])
        self.conv_norm_out = nn.GroupNorm(GROUPS, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], 8, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        hidden = self.conv_in(picture)
        for block in self.down_blocks[:-1]:
            hidden = block.downsamplers[0](block(hidden))
        hidden = self.mid_block(self.down_blocks[-1](hidden))
        return self.conv_out(F.silu(self.conv_norm_out(hidden)))


class Decoder(nn.Module):
    def __init__(self, shape: VAEShape) -> None:
        super().__init__()
        widths = (shape.channels[-1], *reversed(shape.channels))
        self.conv_in, self.mid_block = nn.Conv2d(4, widths[0], 3, padding=1), Middle(widths[0])
        self.up_blocks = nn.ModuleList(
            Level(incoming, out, shape.layers + 1) for incoming, out in zip(widths[:-1], widths[1:], strict=True)
        )
        for block, out in zip(self.up_blocks[:-1], widths[1:-1], strict=True):
            block.upsamplers = nn.ModuleList([Double(out)])
        self.conv_norm_out = nn.GroupNorm(GROUPS, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, latent: Tensor) -> Tensor:
        hidden = self.mid_block(self.conv_in(latent))
        for block in self.up_blocks[:-1]:
            hidden = block(hidden)
            hidden = block.upsamplers[0](hidden, [2 * side for side in hidden.shape[-2:]])
        return self.conv_out(F.silu(self.conv_norm_out(self.up_blocks[-1](hidden))))


class Level(nn.Module):
    def __init__(self, incoming: int, out: int, layers: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(incoming if j == 0 else out, out, eps=EPS) for j in range(layers))

    def forward(self, hidden: Tensor) -> Tensor:
        for resnet in self.resnets:
            hidden = resnet(hidden)
        return hidden


class Middle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(width, width, eps=EPS) for _ in range(2))
        self.attentions = nn.ModuleList([Whole(width)])

    def forward(self, hidden: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](hidden)))


class Whole(Attention):
    """Attention of one head over the whole picture."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, heads=1, bias=True)
        self.group_norm = nn.GroupNorm(GROUPS, width, EPS)

    def forward(self, picture: Tensor) -> Tensor:
        return picture + to_picture(super().forward(to_tokens(self.group_norm(picture))), picture.shape[-2:])


class PlainTinyAutoencoder(Network):
    """The small convolutional one; pictures in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = TinyHalf(TINY_ENCODER, 3, 4), TinyHalf(TINY_DECODER, 4, 3)

    def encode(self, picture: Float[Tensor, "b 3 h w"]) -> Code:
        return Code(self.encoder((picture + 1) / 2))

    def decode(self, latent: Float[Tensor, "b 4 h w"]) -> Output:
        return Output(2 * self.decoder(3 * torch.tanh(latent / 3)) - 1)


class TinyHalf(nn.Module):
    """The layers that a plan in ``ldm_keys`` spells: a convolution in, blocks, convolutions that halve or follow a
    doubling, a convolution out."""

    def __init__(self, plan: str, incoming: int, out: int) -> None:
        super().__init__()
        halves = "-" not in plan
        layers = {
            "i": lambda: nn.Conv2d(incoming, TINY_WIDTH, 3, padding=1),
            "b": TinyBlock,
            "c": lambda: nn.Conv2d(TINY_WIDTH, TINY_WIDTH, 3, stride=1 + halves, padding=1, bias=False),
            "o": lambda: nn.Conv2d(TINY_WIDTH, out, 3, padding=1),
            "-": lambda: nn.Upsample(scale_factor=2),
        }
        built = [layers[kind]() for kind in plan]
        if not halves:
            built[1] = nn.ReLU()  # the first of a decoder's layers without weights
        self.layers = nn.Sequential(*built)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class TinyBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        first, second, third = (nn.Conv2d(TINY_WIDTH, TINY_WIDTH, 3, padding=1) for _ in range(3))
        self.conv = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)
