"""Self-Rectifying Attention: EraDiff's attention for any UNet, SDXL included, under any sampler."""

from functools import cache

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.v0_0_2 import io
from torch import Tensor

from eradiff_core.attention import MODES, Softness, rectifier
from inpainting_core.masks import as_mask
from inpainting_core.self_attention import SelfAttention

from .areas import Area, areas_of, cut_out, tell_areas
from .patch import Attention, fast_kernel, replace_self_attention, self_attention_blocks
from .schema import attention_input, require_choice, schema, softness_inputs

BLOCKS = {"all": ("input", "middle", "output"), "encoder": ("input",), "middle": ("middle",), "decoder": ("output",)}


class EraseOnceSRA(io.ComfyNode):
    """EraDiff (CVPR 2025, arXiv 2503.07026), eq. 10: needs no training and no 9-channel model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceSRA",
            display_name="Self-Rectifying Attention",
            description="Stops the masked area from attending to itself, so that it is filled from its surroundings.",
            search_aliases=["SRA", "EraDiff attention", "object removal attention", "remove object"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Any UNet: SD1.5, SD2, SDXL or their inpainting versions. It is not changed itself.",
                ),
                io.Mask.Input(
                    "mask",
                    tooltip="White is the hole. It needs the picture's aspect ratio. One mask for all pictures "
                    "or one each; several for one picture are merged.",
                ),
                attention_input("mode"),
                io.Combo.Input(
                    "blocks",
                    options=list(BLOCKS),
                    default="all",
                    tooltip="Which part of the UNet to patch; the paper patches all of it.",
                ),
                io.Float.Input(
                    "start_percent",
                    display_name="start percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="When to switch it on during sampling; 0 is the start.",
                ),
                io.Float.Input(
                    "end_percent",
                    display_name="end percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="When to switch it off during sampling; 1 is the end.",
                ),
                *softness_inputs(),
            ],
            outputs=[io.Model.Output(display_name="patched", tooltip="A copy of the model with this attention.")],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        mask: Tensor,
        mode: str,
        blocks: str,
        start_percent: float,
        end_percent: float,
        softness: float = 0.0,
        rising: bool = False,
    ) -> io.NodeOutput:
        require_choice("mode", mode, MODES)
        require_choice("blocks", blocks, BLOCKS)
        chosen = [block for block in self_attention_blocks(model) if block[0] in BLOCKS[blocks]]
        if mode == "off":
            return io.NodeOutput(model)
        soft = Softness(softness, rising)
        attention = rectified_attention(model, mask, mode, soft, start_percent, end_percent)
        patched = replace_self_attention(model, attention, chosen)
        tell_areas(patched)
        return io.NodeOutput(patched)


def rectified_attention(
    model: ModelPatcher, mask: Tensor, mode: str, softness: Softness, start: float, end: float
) -> Attention:
    """Rectified attention of a pixel mask, between two points of the way from noise to picture."""
    masks = mask.shape[:-2].numel() if len(mask) == 1 or mask.ndim < 4 else len(mask)  # of [b, n, h, w], b unions
    hole = as_mask(mask, *mask.shape[-2:], frames=masks)
    anywhere, sampling = bool(hole.any()), model.get_model_object("model_sampling")
    highest, lowest = sampling.percent_to_sigma(start), sampling.percent_to_sigma(end)

    @cache  # once for all layers of a grid and all steps
    def rectifier_of(size: tuple[int, int], areas: tuple[Area | None, ...], pictures: int) -> SelfAttention:
        if anywhere:  # ComfyUI hands out a small black mask where none was drawn
            check_aspect(hole, *size)
        own = for_pictures(hole, pictures)
        return rectifier(
            torch.cat([cut_out(own, size, area).expand(pictures, -1, -1, -1) for area in areas]), mode, softness
        )

    def attention(q: Tensor, k: Tensor, v: Tensor, height: int, width: int, options: dict) -> Tensor:
        if not lowest <= float(options["sigmas"][0]) <= highest:
            return fast_kernel(options)(q, k, v)
        size, areas = areas_of(options)
        rectified = rectifier_of(size, areas, len(q) // len(areas))
        return rectified(q, k, v, height, width, options["sigmas"][:1], fast_kernel(options))

    return attention


def check_aspect(hole: Tensor, height: int, width: int) -> None:
    """Raise ValueError unless the mask can be that of a picture, cut to a multiple of 8, with a latent of this size."""
    ratio = hole.shape[-2] / hole.shape[-1]
    if not height / (width + 1) <= ratio <= (height + 1) / width:
        size = f"{hole.shape[-1]} x {hole.shape[-2]}"
        raise ValueError(
            f"mask must have the picture's aspect ratio, about {8 * width} x {8 * height}, got {size}. "
            "Use the mask of this picture."
        )


def for_pictures(hole: Tensor, pictures: int) -> Tensor:
    """One mask for all pictures, or one each; several masks of a single picture count as one."""
    if pictures == 1:
        hole = hole.amax(0, keepdim=True)
    if len(hole) not in (1, pictures):
        raise ValueError(
            f"mask must come once or once per picture ({pictures}), got {len(hole)} masks. Give one, or one "
            "per picture."
        )
    return hole
