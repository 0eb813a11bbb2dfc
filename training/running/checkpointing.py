"""Gradient checkpointing: what a network computes again for its gradient rather than keep (Chen et al. 2016).

``full`` keeps what goes into each block and computes all of it again.  ``selective`` computes again only what is cheap,
norms, activations and sums, and keeps what convolutions, products of matrices and attention gave.
"""

from functools import partial

import torch
from diffusers import ModelMixin
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

WAYS = ("full", "selective")
aten = torch.ops.aten
COSTLY = {
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
    aten.baddbmm.default,
    aten.convolution.default,
    # kernels of one attention: which of them runs is torch's choice
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
}


def checkpoint_gradients(way: str | None, *networks: ModelMixin) -> None:
    """Let networks work out a second time what they do not keep, in one of the ``WAYS``; None keeps everything."""
    for network in networks:
        if way == "full":
            network.enable_gradient_checkpointing()
        elif way == "selective":
            network.enable_gradient_checkpointing(selectively)


def able_to_repeat(way: str | None) -> str | None:
    """For a network that several gradients of one pass go through: torch lets them do that once under ``selective``."""
    return way and "full"


def selectively(block: nn.Module, *inputs: Tensor) -> Tensor:
    """A block's output; for its gradient all but the costly operations are done again."""
    return checkpoint(
        block, *inputs, use_reentrant=False, context_fn=partial(create_selective_checkpoint_contexts, keep)
    )


def keep(context: object, operation: object, *args: object, **kwargs: object) -> CheckpointPolicy:
    """Whether what this operation gave is kept."""
    return CheckpointPolicy.MUST_SAVE if operation in COSTLY else CheckpointPolicy.PREFER_RECOMPUTE
