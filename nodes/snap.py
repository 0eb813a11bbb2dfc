"""Snap Mask to Entity: a rough brush stroke or box becomes the whole mask of what it means."""

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.v0_0_2 import io
from torch import Tensor

from inpainting_core.erasing import check_picture
from inpainting_core.masks import as_mask, grow
from yoeo_core.entities import sure_entities
from yoeo_core.snapping import Snapped, snap

from .boundary import mask_from, picture_from
from .detector import detections, detector_input
from .schema import schema
from .telling import tell


class EraseOnceSnapMask(io.ComfyNode):
    """Each connected part of the mask becomes the entity that it lies in, or that lies in it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceSnapMask",
            display_name="Snap Mask to Entity",
            description="Turns a loose brush stroke, outline or box into the exact mask of the entity it means.",
            search_aliases=["refine mask", "magic wand", "select object", "segment", "Mask2Former", "SAM"],
            inputs=[
                io.Image.Input("image", tooltip="The pictures that the mask was painted on, RGB."),
                io.Mask.Input(
                    "mask",
                    tooltip="Strokes inside, boxes or outlines around what you mean, one mask for all pictures or one "
                    "each. Parts that do not touch each other are taken one by one.",
                ),
                detector_input(),
                io.Int.Input(
                    "grow",
                    default=0,
                    min=0,
                    max=256,
                    tooltip="Pixels by which the result is widened; the Erase nodes grow their masks by themselves.",
                ),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="mask",
                    tooltip="The entities, grown; a part that hits no entity stays as it was painted.",
                ),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, mask: Tensor, detector: ModelPatcher, grow: int) -> io.NodeOutput:
        picture = picture_from(image)
        check_picture(picture)
        rough = as_mask(mask, *picture.shape[-2:], frames=len(picture)).expand(len(picture), -1, -1, -1)
        snapped = [
            snap(one, sure_entities(found, 0, picture.shape[-2:]))
            for one, found in zip(rough.split(1), detections(detector, picture), strict=True)
        ]
        return answer(snapped, grow)


def answer(snapped: list[Snapped], grow_px: int) -> io.NodeOutput:
    """The grown masks, and what became of every part, on the node and in the history."""
    masks = grow(torch.cat([one.mask for one in snapped]), grow_px)
    return io.NodeOutput(mask_from(masks), ui=tell([sentence(one) for one in snapped]))


def sentence(snapped: Snapped) -> str:
    """What became of the parts of one picture's mask, in words."""
    if not snapped.scores:
        return "The mask is empty: nothing to snap."
    hits = [f"{score:.2f}" for score in snapped.scores if score is not None]
    text = f"{len(hits)} of {len(snapped.scores)} part(s) snapped to an entity"
    stayed = len(snapped.scores) - len(hits)
    scores = f" (score {', '.join(hits)})" if hits else ""
    return f"{text}{scores}; {stayed} hit none and stayed as painted." if stayed else f"{text}{scores}."
