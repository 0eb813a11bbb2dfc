"""Grow Mask to Effects: the mask of an object takes in its shadow."""

from dataclasses import dataclass

import torch
from comfy_api.v0_0_2 import io
from torch import Tensor

from inpainting_core.effects import WithEffects, add_effects
from inpainting_core.masks import peaks
from inpainting_core.shapes import Float
from inpainting_core.telling import shadow_found, without_hole

from .boundary import mask_from, picture_from
from .schema import schema
from .telling import report_of, report_output, tell

HOLE = 0.5  # of a mask's values: from here on it is hole


class EraseOnceGrowToEffects(io.ComfyNode):
    """The mask grows by the shadow that the object has around it, where one is found."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceGrowToEffects",
            display_name="Grow Mask to Effects",
            description="Adds the shadow around and under an object to its mask, as far as one is found.",
            search_aliases=["shadow", "remove shadow", "contact shadow", "effect mask", "expand mask", "grow mask"],
            inputs=[
                io.Image.Input("image", tooltip="The pictures with the objects, RGB with or without alpha."),
                io.Mask.Input(
                    "mask",
                    tooltip="White on the objects alone, as exact as you have it. One mask for all pictures or one "
                    "each; several for one picture stay separate.",
                ),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="mask", tooltip="Object and shadow. Where none is found, the mask as it came."
                ),
                io.Mask.Output(display_name="effects", tooltip="The shadow alone, without the object."),
                report_output(),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, mask: Tensor) -> io.NodeOutput:
        picture = picture_from(image)
        found, report = looked_for(picture, mask, peaks_of(picture, mask))
        masks = found.masks if len(picture) == 1 else found.masks.amax(1, keepdim=True)
        added = mask_from(masks.flatten(0, 1)[:, None], image), mask_from(found.effect, image)
        return io.NodeOutput(*added, report, ui=tell(report))


@dataclass(frozen=True, eq=False)
class Asked:
    """What an eraser is to erase: the mask, grown to the effects where that is switched on, and what was added.

    ``said`` is what was found, in words; empty where nothing was looked for.
    """

    mask: Tensor
    added: Float[Tensor, "b 1 h w"]
    said: str

    @classmethod
    def of(cls, picture: Tensor, mask: Tensor, effects: bool) -> "Asked":
        """Of pictures [b, c, h, w] and a MASK.  Raises ValueError for what does not fit, where it is looked at."""
        highest = peaks_of(picture, mask) if effects else []
        if max(highest, default=0.0) < HOLE:
            return cls(mask, torch.zeros(1).expand(len(picture), 1, *picture.shape[-2:]), "")  # a number, not a picture
        found, said = looked_for(picture, mask, highest)
        return cls(found.masks, found.effect, said)


def effects_input() -> io.Boolean.Input:
    """The erasers' switch; last, because saved graphs store widgets by position."""
    return io.Boolean.Input(
        "effects",
        optional=True,  # prompts that were saved before it came still run
        default=False,
        tooltip="Grow the mask by the shadow around and under the object first, as Grow Mask to Effects does. "
        "Look at the output effects: what is white there may change too.",
    )


def effects_output() -> io.Mask.Output:
    """What of the mask was added by the switch; after all others, because links are stored by position."""
    return io.Mask.Output(
        display_name="effects", tooltip="What was added to the mask with effects on; black where nothing was."
    )


def looked_for(picture: Tensor, mask: Tensor, highest: list[float]) -> tuple[WithEffects, str]:
    """Pictures [b, c, h, w] and a MASK to masks that hold the effects, and what was found in words.

    ``highest`` are the masks' peaks.  Raises ValueError for pictures and masks that do not fit.
    """
    found = add_effects(picture, mask)
    return found, report_of([said_of(share, peak) for share, peak in zip(found.shares, highest, strict=True)])


def peaks_of(picture: Tensor, mask: Tensor) -> list[float]:
    """The highest value of each picture's masks."""
    return peaks(mask, len(picture)).amax(1).expand(len(picture)).tolist()


def said_of(share: float, peak: float) -> str:
    """What became of one picture's mask, in words; ``peak`` is the highest value that was given."""
    if peak < HOLE:
        return f"{without_hole(peak)}: nothing to grow, so it stays empty."
    return shadow_found(share)
