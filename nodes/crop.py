"""Crop Around Mask and Stitch Back: the window that a model should see, and its inverse."""

from dataclasses import dataclass

import torch
from comfy_api.v0_0_2 import io
from torch import Tensor

from inpainting_core.crop import Crop, crop_mask, crop_picture, plan_patches, stitch
from inpainting_core.erasing import check_picture, margin_px, ring_px
from inpainting_core.masks import as_mask, bounding_boxes, feather

from .boundary import STOCK_RESOLUTION, image_from, mask_from, picture_from
from .schema import context_input, grow_input, schema

CropInfo = io.Custom("ERASE_ONCE_CROP")


@dataclass(frozen=True)
class CropAround:
    """What Stitch Back needs: the pictures, the window, and how much of the fill shows at each pixel."""

    picture: Tensor
    crop: Crop
    blend: Tensor


class EraseOnceCrop(io.ComfyNode):
    """One window around all holes, at the model's resolution, on the 64 px grid, never stretched."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceCrop",
            display_name="Crop Around Mask",
            description="Cuts out the hole with its surroundings at the size a model works best at.",
            search_aliases=["crop and stitch", "inpaint crop", "crop mask"],
            inputs=[
                io.Image.Input("image", tooltip="The pictures, RGB; all of them get the same window."),
                io.Mask.Input("mask", tooltip="White where the hole is: one mask for all pictures or one each."),
                grow_input(),
                context_input(),
                io.Int.Input(
                    "resolution",
                    default=STOCK_RESOLUTION,
                    min=64,
                    max=2048,
                    step=64,
                    tooltip="Side in pixels of the square that the model works on; the crop has at most its area.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The window, sides multiples of 64."),
                io.Mask.Output(display_name="mask", tooltip="The grown hole in the window."),
                CropInfo.Output(display_name="crop", tooltip="For Stitch Back."),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, mask: Tensor, grow: int, context: float, resolution: int) -> io.NodeOutput:
        picture = picture_from(image)
        window = crop_around(picture, mask, grow, context, resolution)
        hole = (window.blend > 0).to(picture)
        shown = image_from(crop_picture(picture, window.crop)), mask_from(crop_mask(hole, window.crop))
        return io.NodeOutput(*shown, window)


class EraseOnceStitch(io.ComfyNode):
    """The inverse of Crop Around Mask: pixels outside the grown hole come back exactly as they were."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceStitch",
            display_name="Stitch Back",
            description="Lays a worked-on crop back into its picture, blended over the ring around the hole.",
            search_aliases=["crop and stitch", "inpaint stitch", "uncrop"],
            inputs=[
                CropInfo.Input("crop", tooltip="From Crop Around Mask."),
                io.Image.Input("image", tooltip="The window with its hole filled, at any size of the same aspect."),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The whole pictures.")],
        )

    @classmethod
    def execute(cls, crop: CropAround, image: Tensor) -> io.NodeOutput:
        fill = picture_from(image)
        check_fill(fill, crop)
        pictures = max(len(crop.picture), len(fill))
        picture, fill = (x.expand(pictures, -1, -1, -1) for x in (crop.picture, fill))
        return io.NodeOutput(image_from(stitch(picture, fill, crop.crop, crop.blend)))


def crop_around(picture: Tensor, mask: Tensor, grow_px: float, context: float, resolution: int) -> CropAround:
    """The window around all holes of all pictures.  Raises ValueError for input that does not fit or has no hole."""
    check_picture(picture)
    hole = as_mask(mask, *picture.shape[-2:], frames=len(picture)).to(picture.device)
    if not bool(hole.any()):
        raise ValueError("mask must mark something to crop around, got an empty one.")
    patches = plan_patches(box_around(hole), resolution, context, margin_px(grow_px))
    crop = patches[0].crop  # a box is one part, so there is one patch
    return CropAround(picture, crop, feather(hole, ring_px(crop, grow_px)))


def box_around(hole: Tensor) -> Tensor:
    """The bounding box of all holes, as a mask."""
    anywhere = hole.amax((0, 1)) > 0
    top, left, bottom, right = bounding_boxes(anywhere.int().cpu())[0]
    box = torch.zeros_like(hole[:1])
    box[..., top:bottom, left:right] = 1
    return box


def check_fill(fill: Tensor, window: CropAround) -> None:
    """Raise ValueError unless the fill fits the window that it was cut from."""
    check_picture(fill)
    crop, (height, width) = window.crop, fill.shape[-2:]
    if len(fill) not in (1, len(window.picture)) and len(window.picture) != 1:
        raise ValueError(f"image must come once or once a picture ({len(window.picture)}), got {len(fill)} pictures.")
    if height * crop.work_width != width * crop.work_height:
        expected = f"{crop.work_width} x {crop.work_height}"
        raise ValueError(f"image must have the aspect of its crop ({expected}), got {width} x {height}.")
