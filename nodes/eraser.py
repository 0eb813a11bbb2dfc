"""What both erasers have in common on the graph: their sockets, their settings and their answer."""

from comfy_api.v0_0_2 import io
from torch import Tensor

from inpainting_core.erasing import Erased
from inpainting_core.telling import sentence

from .boundary import image_from, mask_from
from .effects import Asked, effects_output
from .schema import context_input, grow_input
from .telling import report_output, tell


def what_to_erase() -> list[io.Input]:
    """The inputs that come from other nodes."""
    return [
        io.Model.Input(
            "model", tooltip="An inpainting UNet with 9 input channels, from Load Erase Model or Load Checkpoint."
        ),
        io.Vae.Input("vae", tooltip="The autoencoder that belongs to the model."),
        io.Conditioning.Input(
            "conditioning", tooltip="The prompt. Both methods expect the empty one from Load Erase Model."
        ),
        io.Image.Input(
            "image",
            tooltip="The pictures, RGB with or without alpha. Pixels outside the grown mask come back unchanged.",
        ),
        io.Mask.Input(
            "mask",
            tooltip="White is erased. One mask for all pictures, one each, or several for one picture, one per object. "
            "Cover the shadow too.",
        ),
    ]


def how_to_erase() -> list[io.Input]:
    """The settings that both methods share."""
    return [
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=True,
            tooltip="Another seed gives another fill; the same seed gives the same one.",
        ),
        grow_input(),
        context_input(),
        io.Int.Input(
            "resolution",
            default=0,
            min=0,
            max=2048,
            step=64,
            tooltip="Size in pixels at which the model works; 0 uses the model's own.",
        ),
    ]


def what_comes_out() -> list[io.Output]:
    return [
        io.Image.Output(display_name="image", tooltip="The pictures without what the mask covered."),
        io.Mask.Output(display_name="changed", tooltip="Where the pictures may have changed: the grown mask."),
        io.Image.Output(display_name="candidates", tooltip="All candidates for each picture, best first."),
        report_output(),
        effects_output(),
    ]


def answer(erased: Erased, asked: Asked, image: Tensor, steps: int, seconds: float, judged: bool) -> io.NodeOutput:
    """The node's outputs, and what was done in words, on the node and in the history."""
    pictures = image_from(erased.image, image), mask_from(erased.changed, image), image_from(erased.candidates, image)
    said = sentence(erased, steps, seconds, judged)
    report = f"{asked.said} {said}" if asked.said else said
    return io.NodeOutput(*pictures, report, mask_from(asked.added, image), ui=tell(report))
