"""The cap that keeps L_SS and L_EFC from drowning the distillation (YOEO's weights of 0.5).

Strengths are compared where all losses meet: at the last layer's weight, the student's ``conv_out``.  A term that
pulls there more than half as hard as the distillation is scaled down to half; a gentler one is left as it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from inpainting_core.shapes import Float

SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Cap:
    """A term's gradient norm and the largest that it is allowed."""

    norm: Float[Tensor, ""]
    allowed: Float[Tensor, ""]

    @property
    def scale(self) -> Float[Tensor, ""]:
        """What the term is multiplied by: 1 where it is gentle enough."""
        return torch.where(self.norm > self.allowed, self.allowed / self.norm, 1.0)

    @property
    def norm_after(self) -> Float[Tensor, ""]:
        """The gradient norm that is left."""
        return self.scale * self.norm


def capped(
    terms: Mapping[str, Float[Tensor, ""]],
    distillation: Float[Tensor, ""],
    weight: Float[Tensor, "*dims"],
    shares: Mapping[str, float] | None = None,
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Cap]:
    """Each term's cap: of g, the distillation's gradient norm at ``weight``, it is allowed its share, or SHARE.

    ``terms`` and ``distillation`` are a batch's losses, whose graph is kept; multiply each term by its scale and take
    one backward pass.  In data-parallel training ``reduce`` averages a gradient over the processes, so that all of
    them find the norm of the whole batch and scale alike.
    """
    whole, shares = gradient_norm(distillation, weight, reduce), shares or {}
    return {
        name: Cap(gradient_norm(term, weight, reduce), shares.get(name, SHARE) * whole) for name, term in terms.items()
    }


def gradient_norm(
    loss: Float[Tensor, ""], weight: Float[Tensor, "*dims"], reduce: Callable[[Tensor], Tensor] | None = None
) -> Float[Tensor, ""]:
    """The length of a loss's gradient with respect to a weight."""
    (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
    return (reduce(gradient) if reduce else gradient).norm()
