"""The layers of Stable Diffusion's networks in torch alone, with diffusers' names for their weights."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from inpainting_core.architecture import GROUPS, UNetShape
from inpainting_core.shapes import Float

WHOLE = partial(checkpoint, use_reentrant=False)


class Checkpointed(nn.Module):
    """A layer whose insides are computed again for the gradient where it is ``called`` so (Chen et al. 2016)."""

    called: Callable[..., Tensor] | None = None

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        if self.called and torch.is_grad_enabled():
            return self.called(super().__call__, *inputs)
        return super().__call__(*inputs)


class Network(nn.Module):
    """What a training asks of a network besides its answer."""

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def enable_gradient_checkpointing(self, call: Callable[..., Tensor] | None = WHOLE) -> None:
        """``call`` is given a layer and its inputs and answers for it; None is off."""
        for module in self.modules():
            if isinstance(module, Checkpointed):
                module.called = call

    def disable_gradient_checkpointing(self) -> None:
        self.enable_gradient_checkpointing(None)


class Resnet(Checkpointed):
    """Two convolutions; an autoencoder's is told no ``time``."""

    def __init__(self, incoming: int, out: int, time: int | None = None, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, incoming, eps), nn.Conv2d(incoming, out, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, out) if time else None
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, out, eps), nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(incoming, out, 1) if incoming != out else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"], time: Float[Tensor, "b t"] | None = None) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(x)))
        if self.time_emb_proj is not None:
            hidden = hidden + self.time_emb_proj(F.silu(time))[:, :, None, None]
        return self.conv_shortcut(x) + self.conv2(F.silu(self.norm2(hidden)))


class Attention(nn.Module):
    """Attention to itself or to the text; another ``processor`` may take its place, as in diffusers."""

    def __init__(self, width: int, source: int, heads: int, bias: bool = False) -> None:
        super().__init__()
        self.heads, self.processor = heads, attend_plainly
        self.to_q = nn.Linear(width, width, bias)
        self.to_k, self.to_v = nn.Linear(source, width, bias), nn.Linear(source, width, bias)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def set_processor(self, processor: Callable[..., Tensor]) -> None:
        self.processor = processor

    def forward(self, hidden: Float[Tensor, "b n c"], context: Tensor | None = None) -> Float[Tensor, "b n c"]:
        return self.processor(self, hidden, context)


def attend_plainly(layer: Attention, hidden: Tensor, context: Tensor | None) -> Tensor:
    source = hidden if context is None else context
    parts = (layer.to_q, hidden), (layer.to_k, source), (layer.to_v, source)
    q, k, v = (project(x).unflatten(-1, (layer.heads, -1)).transpose(1, 2) for project, x in parts)
    return layer.to_out[0](scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class GatedLinear(nn.Module):
    """Shazeer 2020: GEGLU."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * out)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, -1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GatedLinear(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(Checkpointed):
    def __init__(self, width: int, heads: int, context_dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1, self.attn2 = Attention(width, width, heads), Attention(width, context_dim, heads)
        self.ff = FeedForward(width)

    def forward(self, x: Float[Tensor, "b n c"], context: Float[Tensor, "b m k"]) -> Float[Tensor, "b n c"]:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer(nn.Module):
    """``depth`` blocks over the tokens of a picture, between two projections."""

    def __init__(self, width: int, depth: int, shape: UNetShape) -> None:
        super().__init__()
        heads = shape.heads or width // shape.head_dim
        self.norm, self.linear = nn.GroupNorm(GROUPS, width, 1e-6), shape.linear_projection
        self.proj_in, self.proj_out = (
            nn.Linear(width, width) if self.linear else nn.Conv2d(width, width, 1) for _ in range(2)
        )
        blocks = [TransformerBlock(width, heads, shape.context_dim) for _ in range(depth)]
        self.transformer_blocks = nn.ModuleList(blocks)

    def forward(self, x: Float[Tensor, "b c h w"], context: Float[Tensor, "b m k"]) -> Float[Tensor, "b c h w"]:
        size, hidden = x.shape[-2:], self.norm(x)
        hidden = self.proj_in(to_tokens(hidden)) if self.linear else to_tokens(self.proj_in(hidden))
        for block in self.transformer_blocks:
            hidden = block(hidden, context)
        if self.linear:
            return x + to_picture(self.proj_out(hidden), size)
        return x + self.proj_out(to_picture(hidden, size))


def to_tokens(picture: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n c"]:
    return picture.flatten(2).transpose(1, 2)


def to_picture(tokens: Float[Tensor, "b n c"], size: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """The inverse of ``to_tokens``."""
    return tokens.transpose(1, 2).unflatten(2, size)


class Halve(nn.Module):
    """A convolution of stride 2; an autoencoder's sees one more row and column below and to the right."""

    def __init__(self, width: int, uneven: bool = False) -> None:
        super().__init__()
        self.uneven, self.conv = uneven, nn.Conv2d(width, width, 3, stride=2, padding=0 if uneven else 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.uneven else x)


class Double(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """To a size: of an odd one the half was rounded up."""
        return self.conv(F.interpolate(x, size, mode="nearest"))
