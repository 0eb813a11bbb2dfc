"""Gradient checkpointing: what a network computes again for its gradient rather than keep (Chen et al. 2016).

``full`` keeps what goes into each block and computes all of it again.  ``selective`` computes again only what is cheap,
norms, activations and sums, and keeps what convolutions, products of matrices and attention gave.
"""

from functools import partial

import torch
from diffusers import ModelMixin
from torch import Tensor, nn
from torch.utils import checkpoint as torch_checkpoint

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


def refuse_missing_way(way: str | None) -> None:
    """Raise ValueError for a way that the installed torch has not, before weights are read for it."""
    if way == "selective" and not hasattr(torch_checkpoint, "CheckpointPolicy"):
        raise ValueError(
            f"--gradient-checkpointing selective needs torch 2.5 or newer, got {torch.__version__}: leave the word out."
        )


def able_to_repeat(way: str | None) -> str | None:
    """For a network that several gradients of one pass go through: torch lets them do that once under ``selective``."""
    return way and "full"


def selectively(block: nn.Module, *inputs: Tensor) -> Tensor:
    """A block's output; for its gradient all but the costly operations are done again."""
    contexts = partial(torch_checkpoint.create_selective_checkpoint_contexts, keep)
    return torch_checkpoint.checkpoint(block, *inputs, use_reentrant=False, context_fn=contexts)


def keep(context: object, operation: object, *args: object, **kwargs: object) -> object:
    """Torch's word for whether what this operation gave is kept."""
    policy = torch_checkpoint.CheckpointPolicy
    return policy.MUST_SAVE if operation in COSTLY else policy.PREFER_RECOMPUTE
