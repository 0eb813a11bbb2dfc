"""Snap Mask to Entity: a rough brush stroke or box becomes the whole mask of the object it marks."""

from functools import partial

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.v0_0_2 import io
from torch import Tensor

from inpainting_core.alpha import visible
from inpainting_core.erasing import check_picture
from inpainting_core.masks import as_objects, peaks
from inpainting_core.masks import grow as widened
from inpainting_core.telling import counted, without_hole
from yoeo_core.close_up import entities_near, together
from yoeo_core.entities import sure_entities
from yoeo_core.snapping import Snapped, snap

from .boundary import mask_from, picture_from
from .detector import detections, detector_input, look
from .memory import said_where_memory_ends
from .schema import schema
from .telling import report_of, report_output, tell


class EraseOnceSnapMask(io.ComfyNode):
    """Each connected part of the mask becomes the entity that it lies in, or that lies in it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceSnapMask",
            display_name="Snap Mask to Entity",
            description="Turns a rough brush stroke, outline or box into the exact mask of the object it marks.",
            search_aliases=["refine mask", "magic wand", "select object", "segment", "Mask2Former", "SAM"],
            inputs=[
                io.Image.Input("image", tooltip="The pictures the mask was painted on, RGB with or without alpha."),
                io.Mask.Input(
                    "mask",
                    tooltip="Strokes on the objects, or boxes or outlines around them. One mask for all "
                    "pictures or one each; several for one picture stay separate. Parts that do not touch are handled "
                    "one by one.",
                ),
                detector_input(),
                io.Int.Input(
                    "grow",
                    default=0,
                    min=0,
                    max=256,
                    tooltip="Widens the result by this many pixels. The Erase nodes already grow their masks.",
                ),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="mask",
                    tooltip="The objects, grown. A part that matches no object stays as painted.",
                ),
                report_output(),
            ],
        )

    @classmethod
    @said_where_memory_ends()
    def execute(cls, image: Tensor, mask: Tensor, detector: ModelPatcher, grow: int) -> io.NodeOutput:
        picture = picture_from(image)
        check_picture(picture)
        several, highest = as_objects(mask, *picture.shape[-2:], frames=len(picture)), peaks(mask, len(picture))
        if len(picture) > 1:
            several = several.amax(1, keepdim=True).expand(len(picture), -1, -1, -1)
            highest = highest.amax(1, keepdim=True).expand(len(picture), -1)
        looked_at = visible(picture).clamp(0, 1).float()
        snapped = []
        for masks, found, seen in zip(several, detections(detector, looked_at), looked_at.split(1), strict=True):
            whole = sure_entities(found, 0, picture.shape[-2:])
            for one in masks.split(1):
                near = entities_near(one[None], seen, partial(look, detector))
                snapped.append(snap(one[None], together(whole, near), seen))
        said = [sentence(one, peak) for one, peak in zip(snapped, highest.flatten().tolist(), strict=True)]
        masks = widened(torch.cat([one.mask for one in snapped]), grow)
        report = report_of(said, "Picture" if len(picture) > 1 else "Mask")
        return io.NodeOutput(mask_from(masks, image), report, ui=tell(report))


def sentence(snapped: Snapped, highest: float) -> str:
    """What became of the parts of one mask, in words; ``highest`` is the highest value that was given."""
    if not snapped.scores:
        return f"{without_hole(highest)}: nothing to snap, so the mask stays empty."
    scores = [f"{score:.2f}" for score in snapped.scores if score is not None]
    by_colour, found = sum(snapped.cut), len(scores) + sum(snapped.cut)
    how = [f"score{'s' if len(scores) > 1 else ''} {', '.join(scores)}"] if scores else []
    how += [f"{by_colour} by {'its' if by_colour == 1 else 'their'} colours"] if by_colour else []
    text = f"{found} of {counted(len(snapped.scores), 'part')} snapped to an object"
    text += f" ({'; '.join(how)})" if how else ""
    stayed = len(snapped.scores) - found
    return f"{text}; {stayed} matched none and stayed as painted." if stayed else f"{text}."
