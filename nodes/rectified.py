"""Rectified attention as the node asks for it, for both kinds of network that ComfyUI runs."""

from collections.abc import Callable
from functools import lru_cache
from math import inf

import torch
from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import CONST
from torch import Tensor
from torch.nn.functional import pad

from eradiff_core.attention import Softness, Tokens, as_bias, attend_rows, for_each_key, rectifier, split_rows
from inpainting_core.masks import to_grid, to_patches
from inpainting_core.self_attention import SelfAttention
from inpainting_core.shapes import Bool

from .areas import Area, areas_of
from .holes import Holes
from .layouts import Canvas
from .patch import fast_kernel

SIZES = 8  # of latents whose holes a patched model keeps: a graph keeps the model, and may sample it at any size
TOKEN_PX = 16  # of a transformer, each way: 2 x 2 cells of 8 pixels, or one of 16


class Rectified:
    """Attention rectified by a pixel mask, between two points of the way from noise to picture."""

    def __init__(
        self, model: ModelPatcher, mask: Tensor, mode: str, softness: Softness, start: float, end: float
    ) -> None:
        self.holes, self.mode, self.softness = Holes(mask), mode, softness
        sampling = model.get_model_object("model_sampling")
        self.highest = sampling.percent_to_sigma(start) if start > 0 else inf  # a flow's first level rounds beyond 1
        self.lowest = sampling.percent_to_sigma(end)
        self.flows = isinstance(sampling, CONST)
        self._rectifier = lru_cache(SIZES)(self._rectifier)  # once for all layers of a grid and all steps
        self._tokens = lru_cache(SIZES)(self._tokens)

    def self_attention(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int, options: dict) -> Tensor:
        """A UNet's, for q, k, v ``[b, heads, height * width, d]``."""
        if not self._on(options):
            return fast_kernel(options)(q, k, v)
        rectified = self._rectifier(*areas_of(options), len(q))
        return rectified(q, k, v, height, width, self._noise_level(options), fast_kernel(options))

    def joint_attention(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        canvas: Canvas,
        kernel: Callable,
        options: dict,
    ) -> Tensor:
        """A transformer's (``JointAttention``): text and reference pictures are never hole."""
        if not self._on(options):
            return kernel(q, k, v, mask)
        hole, rows = self._tokens(*areas_of(options), len(q), canvas, q.shape[2], q.device)
        weights = for_each_key(self.softness.at(self._noise_level(options)), q)
        if mask is None:
            return attend_rows(q, k, v, rows, self.mode, lambda *qkv: kernel(*qkv, None), weights)
        return kernel(q, k, v, added(mask, as_bias(hole, self.mode, weights).to(q)))

    def _on(self, options: dict) -> bool:
        return self.lowest <= float(options["sigmas"][0]) <= self.highest

    def _noise_level(self, options: dict) -> Tensor:
        """sigma of ``x0 + sigma noise``; a flow counts in s of ``(1 - s) x0 + s noise``."""
        sigma = options["sigmas"][:1]
        return sigma / (1 - sigma) if self.flows else sigma

    def _rectifier(self, size: tuple[int, int], areas: tuple[Area | None, ...], batch: int) -> SelfAttention:
        return rectifier(self.holes.of_call(size, areas, batch), self.mode, self.softness)

    def _tokens(
        self,
        size: tuple[int, int],
        areas: tuple[Area | None, ...],
        batch: int,
        canvas: Canvas,
        tokens: int,
        device: torch.device,
    ) -> tuple[Bool[Tensor, "b n"], list[Tokens]]:
        mask = to_grid(self.holes.of_call(size, areas, batch, TOKEN_PX // canvas.patch), canvas.height, canvas.width)
        inside = to_patches(mask, canvas.patch).repeat(1, canvas.frames).to(device)
        hole = pad(inside, (tokens - canvas.tokens - canvas.after, canvas.after))
        return hole, split_rows(hole)


def added(mask: Tensor, bias: Tensor) -> Tensor:
    """A mask of any of ComfyUI's shapes, from ``[n, n]`` to ``[b, heads, n, n]``, and ours ``[b, 1, n, n]``."""
    if mask.ndim < 4:
        mask = mask[None, None] if mask.ndim == 2 else mask[:, None]
    return bias.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else mask + bias
