"""An engine that keeps what it sees while it samples: where the hole looks, and the picture it has in mind.

Attention is linear in its values, ``out_i = sum_j w_ij v_j``, so what the hole's mean output gains by a value is the
hole's mean weight on its token.  One backward pass gives the weights of whatever attention stands there: any mode,
softness or kernel, and no matrix of all pairs is built.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from inpainting_core.choosing import mean_of_draws
from inpainting_core.engine import DiffusersEngine
from inpainting_core.masks import to_tokens
from inpainting_core.protocol import Inputs
from inpainting_core.self_attention import SelfAttention
from inpainting_core.shapes import Bool, Float


@dataclass(frozen=True, eq=False)
class Look:
    """Where the hole looks in one layer at one step, the mean over heads and the hole's tokens.

    ``weights`` say how much of its attention each token gets: they sum to 1.  ``hole`` is true on the hole's tokens.
    """

    step: int
    layer: int
    weights: Float[Tensor, "h w"]
    hole: Bool[Tensor, "h w"]

    @property
    def at_itself(self) -> float:
        """The share of the hole's attention that it pays itself; the rest goes to the surroundings."""
        return float(self.weights[self.hole].sum())


def weights_of_hole(
    attention: Callable[[Tensor, Tensor, Tensor], Tensor],
    q: Float[Tensor, "b heads n d"],
    k: Float[Tensor, "b heads n d"],
    hole: Bool[Tensor, "n"],
) -> Float[Tensor, "n"]:
    """How much of the hole's attention each token gets, the mean over samples, heads and the hole's tokens.

    ``attention`` takes q, k and v to the output ``[b, heads, n, d]``.  A grid without a hole gives NaN.
    """
    with torch.enable_grad():
        v = torch.zeros_like(k, dtype=torch.float32, requires_grad=True)
        first = attention(q.detach().float(), k.detach().float(), v)[..., 0]
        (weights,) = torch.autograd.grad(first[..., hole].mean(), v)
    return weights[..., 0].sum((0, 1)) if hole.any() else torch.full_like(hole, torch.nan, dtype=torch.float32)


class WatchedEngine(DiffusersEngine):
    """An engine whose last run of a sampler can be looked at.

    ``looks`` has one entry for each layer and step; ``path`` the picture ``[1, 3, h, w]`` that each step takes for the
    end.  The run itself is the plain engine's; it costs about three times as long.
    """

    looks: list[Look]
    path: list[Tensor]

    def sample(
        self, sampler: Callable, sigmas: Float[Tensor, "n"], noise: Float[Tensor, "b 4 h w"], inputs: Inputs
    ) -> Float[Tensor, "b 4 h w"]:
        self.looks, self.path, self.callback = [], [], self._keep_picture
        return super().sample(sampler, sigmas, noise, replace(inputs, attention=self._watched(inputs)))

    def _keep_picture(self, step: dict[str, Any]) -> None:
        self.path.append(self.decode(mean_of_draws(step["denoised"], len(step["denoised"]))).cpu())

    def _watched(self, inputs: Inputs) -> SelfAttention:
        """The run's own attention, its weights kept."""
        own = inputs.attention or plain

        def attention(q: Tensor, k: Tensor, v: Tensor, height: int, width: int, sigma: Tensor) -> Tensor:
            hole = to_tokens(inputs.mask[:1], height, width)[0].to(q.device)
            weights = weights_of_hole(lambda *qkv: own(*qkv, height, width, sigma), q, k, hole)
            layer = sum(look.step == len(self.path) for look in self.looks)
            shape = (height, width)
            self.looks.append(Look(len(self.path), layer, weights.cpu().view(shape), hole.cpu().view(shape)))
            return own(q, k, v, height, width, sigma)

        return attention


def plain(q: Tensor, k: Tensor, v: Tensor, height: int, width: int, sigma: Tensor) -> Tensor:
    """What a layer does by itself."""
    return scaled_dot_product_attention(q, k, v)
