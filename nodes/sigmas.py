"""Sigmas for Erasing: the noise levels of our two paths, for the stock sampling nodes."""

import torch
from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import ModelSamplingDiscrete
from comfy_api.v0_0_2 import io

from inpainting_core.schedule import trailing_timesteps
from yoeo_core.consistency import timesteps

from .schema import require_choice, require_numbers, schema

METHODS = ("yoeo", "eradiff")


class EraseOnceSigmas(io.ComfyNode):
    """YOEO's timesteps (999, 749, ...) or EraDiff's trailing ones, as noise levels of the model's own schedule."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceSigmas",
            display_name="Sigmas for Erasing",
            description="The noise levels of YOEO and EraDiff, for SamplerCustom and similar nodes.",
            search_aliases=["YOEO scheduler", "EraDiff scheduler", "LCM sigmas"],
            inputs=[
                io.Model.Input("model", tooltip="The model to be sampled; the levels come from its noise schedule."),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    default=METHODS[0],
                    tooltip="yoeo: timesteps 999, 749, 499, 249; eradiff: evenly spaced timesteps from 999 down.",
                ),
                io.Int.Input(
                    "steps",
                    default=2,
                    min=1,
                    max=1000,
                    tooltip="Sampling steps: 1 to 4 for yoeo, about 12 for eradiff.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.05,
                    max=1.0,
                    step=0.01,
                    tooltip="Below 1, eradiff skips its noisiest steps; yoeo ignores it.",
                ),
            ],
            outputs=[io.Sigmas.Output(display_name="sigmas", tooltip="Noise levels from high to low; the last is 0.")],
        )

    @classmethod
    def execute(cls, model: ModelPatcher, method: str, steps: int, strength: float) -> io.NodeOutput:
        require_choice("method", method, METHODS)
        require_numbers(strength=strength)
        sampling = model.get_model_object("model_sampling")
        if not isinstance(sampling, ModelSamplingDiscrete):
            raise ValueError(
                "model must have Stable Diffusion's 1000 timesteps, got one with another noise schedule. "
                "Load an SD1.5, SD2 or SDXL model."
            )
        visited = timesteps(steps) if method == "yoeo" else trailing_timesteps(steps, strength)
        return io.NodeOutput(torch.cat([sampling.sigma(torch.tensor(visited)), torch.zeros(1)]))
