"""Our attention inside a ComfyUI transformer, whose text and picture attend together."""

import logging
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import count

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .layouts import Canvas, Layout

# q, k, v [b, heads, n, d], what the network itself adds to the logits (or None), where the canvas lies among the n
# tokens, the kernel for q, k, v and what is added, and ComfyUI's options, to [b, heads, n, d]
JointAttention = Callable[..., Tensor]
OVERRIDE = "optimized_attention_override"  # where ComfyUI looks for another attention
KEY = "erase_once_joint_attention"


def replace_joint_attention(model: ModelPatcher, layout: Layout, attention: JointAttention) -> ModelPatcher:
    """A clone of the model whose joint attention is ours; the model itself stays as it was.

    Another node's attention, as SageAttention's, computes what ours asks of it, whichever of the two came first.
    Raises ValueError where another node of ours has replaced it already: both cannot compute it.
    """
    if model.get_wrappers(WrappersMP.APPLY_MODEL, KEY):
        raise ValueError(
            "model must have its own joint attention, but another Self-Rectifying Attention has replaced it. "
            "Remove one of the two nodes."
        )
    patched = model.clone()
    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, _for_each_pass(layout, attention))
    return patched


def _for_each_pass(layout: Layout, attention: JointAttention) -> Callable[..., Tensor]:
    """A wrapper of ComfyUI's ``apply_model``, in which the pass's latent and reference pictures are still whole."""

    @lru_cache(32)
    def warn(tokens: int, canvas: Canvas) -> None:
        expected = f"{canvas.tokens + canvas.after} of the picture"
        logging.warning(f"Erase Once: {tokens} tokens do not hold {expected}, so plain attention is used.")

    def wrapper(apply: Callable, x: Tensor, t: Tensor, c_concat, c_crossattn, control, options: dict, **more) -> Tensor:
        canvas = layout.canvas(x, more.get("ref_latents") or [])
        ours = partial(attention, canvas=canvas)
        told = {**options, OVERRIDE: _override(ours, canvas, layout.text_calls, options.get(OVERRIDE), warn)}
        return apply(x, t, c_concat, c_crossattn, control, told, **more)

    return wrapper


def _override(ours: Callable, canvas: Canvas, text_calls: int, theirs: Callable | None, warn: Callable) -> Callable:
    """``ours`` in the calling form of ComfyUI's override of one pass; ``theirs`` is another node's, which it calls."""
    calls = count()

    def override(
        func, q, k, v, heads, mask=None, attn_precision=None, skip_reshape=False, skip_output_reshape=False, **told
    ):
        compute = partial(theirs, func) if theirs else func
        told |= {"attn_precision": attn_precision}

        def kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
            return compute(q, k, v, heads, mask=mask, skip_reshape=True, skip_output_reshape=True, **told)

        if not skip_reshape:
            q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (q, k, v))  # SD3's v has heads
        tokens = q.shape[2]
        if next(calls) < text_calls:
            out = kernel(q, k, v, mask)
        elif tokens == k.shape[2] and tokens >= canvas.tokens + canvas.after:
            out = ours(q, k, v, mask, kernel=kernel, options=told["transformer_options"])
        else:  # a node that merges tokens
            warn(tokens, canvas)
            out = kernel(q, k, v, mask)
        return out if skip_output_reshape else out.transpose(1, 2).flatten(2)

    return override
