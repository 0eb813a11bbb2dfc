"""Self-Rectifying Attention: EraDiff's attention for any UNet and for transformers, under any sampler."""

from comfy.model_patcher import ModelPatcher
from comfy_api.v0_0_2 import io
from torch import Tensor

from eradiff_core.attention import MODES, Softness

from .areas import tell_areas
from .joint import replace_joint_attention
from .layouts import layout_of
from .patch import replace_self_attention, self_attention_blocks
from .rectified import Rectified
from .schema import attention_input, require_choice, require_numbers, schema, softness_inputs

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
                    tooltip="A UNet (SD1.5, SD2, SDXL) or a transformer (FLUX, Qwen-Image, SD3, Z-Image), for "
                    "inpainting or not. It is not changed itself.",
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
                    tooltip="Which part of a UNet to patch; the paper patches all of it. A transformer takes all.",
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
        require_numbers(start_percent=start_percent, end_percent=end_percent, softness=softness)
        layout = layout_of(model.get_model_object("diffusion_model"))
        if layout and blocks != "all":
            raise ValueError(
                f"blocks must be all for a transformer, which has no parts like a UNet's, got {blocks}. Choose all."
            )
        chosen = [] if layout else [block for block in self_attention_blocks(model) if block[0] in BLOCKS[blocks]]
        if mode == "off":
            return io.NodeOutput(model)
        rectified = Rectified(model, mask, mode, Softness(softness, rising), start_percent, end_percent)
        if layout:
            patched = replace_joint_attention(model, layout, rectified.joint_attention)
        else:
            patched = replace_self_attention(model, rectified.self_attention, chosen)
        tell_areas(patched)
        return io.NodeOutput(patched)
