"""What ComfyUI's stock Load Checkpoint makes of a file of ours, and which files it cannot open or would get wrong.

It knows a model by the shapes of its weights and reads no configuration, so that all that shapes leave open has to be
as in the published model that it takes the file for.  Facts of comfy.model_detection, comfy.supported_models and
comfy.sd.VAE, ComfyUI 0.3.75; tests/test_export.py holds them against that code.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from inpainting_core.architecture import ModelConfig
from inpainting_core.checkpoint import BY_CONTEXT, Checkpoint

FIRST_LEVEL = 320  # channels of every published first level; the other levels are counted in it

# By the width of the text.  SD1.5's and SD2's levels are read off the weights and may differ from the published ones;
# SDXL alone can be marked as predicting v.
FREE = {768: ("channels", "attention", "layers"), 1024: ("channels", "attention", "layers")}
V_MARKS = {2048: "v_pred"}


def require_stock(checkpoint: Checkpoint, source: str) -> None:
    """Raise ValueError with the first rule of Load Checkpoint that the checkpoint breaks."""
    for rule, holds, found in _rules(checkpoint):
        if not holds:
            raise ValueError(f"ComfyUI's stock Load Checkpoint takes only {rule}, got {found} in {source}.")


def marks(config: ModelConfig) -> dict[str, Tensor]:
    """What a file holds so that Load Checkpoint samples its model rightly: a name is enough, its value is not read."""
    return {V_MARKS[config.unet.context_dim]: torch.ones(())} if config.prediction == "v_prediction" else {}


def _rules(checkpoint: Checkpoint) -> Iterator[tuple[str, bool, object]]:
    """Rule, whether it holds, what was found; a later rule may count on those before it."""
    shape, vae, prediction = checkpoint.config.unet, checkpoint.config.vae, checkpoint.config.prediction
    width, channels = shape.context_dim, shape.channels
    yield f"a UNet that reads a text of width {' or '.join(map(str, BY_CONTEXT))}", width in BY_CONTEXT, width
    published = BY_CONTEXT[width]
    rule = f"a UNet with {FIRST_LEVEL} channels on the first level and multiples of that on the others"
    yield rule, channels[0] == FIRST_LEVEL and not any(level % FIRST_LEVEL for level in channels), channels
    yield "a UNet that attends on one level at least", any(shape.attention), shape.attention
    for name, must in vars(published.unet).items():
        if name not in FREE.get(width, ()):
            found = getattr(shape, name)
            yield f"a UNet with {name} {must} where the text is {width} wide", found == must, found
    rule = f"a UNet that predicts {published.prediction} where the text is {width} wide"
    yield rule, prediction == published.prediction or width in V_MARKS, prediction
    yield "a checkpoint with an autoencoder", checkpoint.vae is not None, "none"
    must, found = ((one.channels, one.layers) for one in (published.vae, vae))
    yield f"the tiny autoencoder or one of channels and layers {must}", vae.kind == "tiny" or found == must, found
    scale = published.vae.scale
    yield f"an autoencoder whose latents are scaled by {scale}", vae.scale == scale, vae.scale
