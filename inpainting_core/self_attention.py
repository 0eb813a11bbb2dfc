"""Another self-attention put into a diffusers UNet, for as long as one call lasts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from inpainting_core.shapes import Float

# q, k, v [b, heads, n, d], the layer's token grid (height, width), n = height * width, and the samples' noise levels
# sigma [b or 1], to [b, heads, n, d]; an engine with a faster kernel than PyTorch's own hands it over as the seventh
SelfAttention = Callable[..., Tensor]


@contextmanager
def self_attention(
    unet: nn.Module, attention: SelfAttention | None, latent_size: tuple[int, int], sigma: Float[Tensor, "b"]
) -> Iterator[None]:
    """Within the context every self-attention layer of the UNet calls ``attention``; None leaves them as they are."""
    layers = [module for name, module in unet.named_modules() if name.endswith("attn1")] if attention else []
    before = [layer.processor for layer in layers]
    try:
        for layer in layers:
            layer.set_processor(_processor(attention, latent_size, sigma))
        yield
    finally:
        for layer, processor in zip(layers, before, strict=True):
            layer.set_processor(processor)


def _processor(attention: SelfAttention, latent_size: tuple[int, int], sigma: Tensor) -> Callable[..., Tensor]:
    """A diffusers attention processor around ``attention``."""

    def process(layer: nn.Module, hidden: Tensor, *_, **__) -> Tensor:
        q, k, v = (
            project(hidden).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
            for project in (layer.to_q, layer.to_k, layer.to_v)
        )
        out = attention(q, k, v, *token_grid(hidden.shape[1], latent_size), sigma)
        return layer.to_out[0](out.transpose(1, 2).flatten(2))

    return process


def token_grid(tokens: int, latent_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a layer with so many tokens: the latent's, halved (rounding up) as often as it takes."""
    height, width = latent_size
    while height * width > tokens:
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != tokens:
        raise ValueError(f"tokens must be those of a {tuple(latent_size)} latent halved a few times, got {tokens}.")
    return height, width
