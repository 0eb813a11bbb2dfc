"""Crop Around Mask and Stitch Back: the window that a model should see, and its inverse."""

from dataclasses import dataclass
from math import ceil

import torch
from comfy_api.v0_0_2 import io
from torch import Tensor

from inpainting_core.alpha import crop_visible, with_alpha_of
from inpainting_core.crop import Crop, crop_mask, plan_crop, stitch
from inpainting_core.erasing import check_picture, margin_px, ring_px
from inpainting_core.masks import Box, as_mask, bounding_boxes, feather
from inpainting_core.planning import surroundings
from inpainting_core.telling import without_hole

from .boundary import STOCK_RESOLUTION, image_from, mask_from, picture_from
from .schema import context_input, grow_input, require_numbers, schema

CropInfo = io.Custom("ERASE_ONCE_CROP")


@dataclass(frozen=True)
class CropAround:
    """What Stitch Back needs: the IMAGE as it came, the window, and how much of the fill shows at each pixel."""

    image: Tensor
    crop: Crop
    blend: Tensor


class EraseOnceCrop(io.ComfyNode):
    """One window around all holes, at the model's resolution, on the 64 px grid, never stretched."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceCrop",
            display_name="Crop Around Mask",
            description="Cuts out the hole and its surroundings at the size the model works best at.",
            search_aliases=["crop and stitch", "inpaint crop", "crop mask"],
            inputs=[
                io.Image.Input(
                    "image", tooltip="The pictures, RGB with or without alpha. All of them get the same window."
                ),
                io.Mask.Input(
                    "mask",
                    tooltip="White is the hole. One mask for all pictures or one each; several for one picture "
                    "are merged.",
                ),
                grow_input(),
                context_input(),
                io.Int.Input(
                    "resolution",
                    default=STOCK_RESOLUTION,
                    min=64,
                    max=2048,
                    step=64,
                    tooltip="The model's own size in pixels: 512 for SD1.5 and SD2, 1024 for SDXL. The crop has "
                    "at most this area.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The window; its sides are multiples of 64."),
                io.Mask.Output(display_name="mask", tooltip="The hole in the window, grown."),
                CropInfo.Output(display_name="crop", tooltip="For Stitch Back."),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, mask: Tensor, grow: int, context: float, resolution: int) -> io.NodeOutput:
        require_numbers(context=context)
        window = crop_around(image, mask, grow, context, resolution)
        picture, hole = picture_from(image), (window.blend > 0).float()
        shown = crop_visible(picture[:, :3], picture[:, 3:], window.crop), crop_mask(hole, window.crop)
        return io.NodeOutput(image_from(shown[0], image), mask_from(shown[1], image), window)


class EraseOnceStitch(io.ComfyNode):
    """The inverse of Crop Around Mask: pixels outside the grown hole come back exactly as they were."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceStitch",
            display_name="Stitch Back",
            description="Puts an edited crop back into its picture and blends the edge of the hole.",
            search_aliases=["crop and stitch", "inpaint stitch", "uncrop"],
            inputs=[
                CropInfo.Input("crop", tooltip="From Crop Around Mask."),
                io.Image.Input(
                    "image", tooltip="The window with its hole filled, at any size of the same aspect ratio."
                ),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The whole pictures with the fill in place.")],
        )

    @classmethod
    def execute(cls, crop: CropAround, image: Tensor) -> io.NodeOutput:
        picture, fill = picture_from(crop.image), picture_from(image)
        check_fill(fill, crop)
        pictures = max(len(picture), len(fill))
        picture, fill = (x.expand(pictures, -1, -1, -1) for x in (picture, fill[:, :3].to(picture)))
        stitched = stitch(picture[:, :3], fill, crop.crop, crop.blend)
        return io.NodeOutput(image_from(with_alpha_of(picture, stitched), crop.image))


def crop_around(image: Tensor, mask: Tensor, grow_px: float, context: float, resolution: int) -> CropAround:
    """The window around all holes of all pictures.  Raises ValueError for input that does not fit or has no hole."""
    picture = picture_from(image)
    check_picture(picture)
    size = picture.shape[-2:]
    hole = as_mask(mask, *size, frames=len(picture))
    if not bool(hole.any()):
        raise ValueError(f"{without_hole(float(mask.max()))}: nothing to crop around. Paint over something first.")
    box = bounding_boxes((hole.amax((0, 1)) > 0).int())[0]
    crop = plan_crop(surroundings(box, size, context, margin_px(grow_px)), size, resolution)
    return CropAround(image, crop, feathered(hole, box, ring_px(crop, grow_px)))


def feathered(hole: Tensor, box: Box, radius_px: float) -> Tensor:
    """``feather`` of a hole that lies within a box; farther from that than the ring reaches it is not even asked."""
    rows, columns = (slice(max(0, a - ceil(radius_px)), b + ceil(radius_px)) for a, b in (box[::2], box[1::2]))
    blend = torch.zeros_like(hole)
    blend[..., rows, columns] = feather(hole[..., rows, columns], radius_px)
    return blend


def check_fill(fill: Tensor, window: CropAround) -> None:
    """Raise ValueError unless the fill fits the window that it was cut from."""
    check_picture(fill)
    crop, (height, width) = window.crop, fill.shape[-2:]
    if len(fill) not in (1, len(window.image)) and len(window.image) != 1:
        raise ValueError(
            f"image must come once or once per picture ({len(window.image)}), got {len(fill)} pictures. "
            "Give one, or one per picture."
        )
    if height * crop.work_width != width * crop.work_height:
        expected = f"{crop.work_width} x {crop.work_height}"
        raise ValueError(
            f"image must have the crop's aspect ratio ({expected}), got {width} x {height}. Scale it without cropping."
        )
