"""Erase (YOEO) and Erase (EraDiff): objects out of a picture, one core function each."""

from time import perf_counter

from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.v0_0_2 import io, ui
from comfy_execution.utils import get_executing_context
from torch import Tensor

from eradiff_core import pipeline as eradiff
from eradiff_core.inpainting.erasing import Erased
from eradiff_core.sampler import path
from yoeo_core import pipeline as yoeo

from .boundary import ComfyEngine, image_from, mask_from, picture_from
from .schema import attention_input, context_input, grow_input, schema


class EraseOnceYOEO(io.ComfyNode):
    """YOEO (CVPR 2026, arXiv 2603.27599): one to four consistency steps from pure noise."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceYOEO",
            display_name="Erase (YOEO)",
            description="Removes what the mask covers in one to four steps (You Only Erase Once).",
            search_aliases=["remove object", "eraser", "object removal", "inpaint", "LCM"],
            inputs=[
                *what_to_erase(),
                io.Int.Input("steps", default=2, min=1, max=4, tooltip="Sampling steps; the model was made for 2."),
                *how_to_erase(),
            ],
            outputs=what_comes_out(),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        vae: VAE,
        conditioning: list,
        image: Tensor,
        mask: Tensor,
        steps: int,
        seed: int,
        grow: int,
        context: float,
        resolution: int,
    ) -> io.NodeOutput:
        started = perf_counter()
        erased = yoeo.erase(
            ComfyEngine(model, vae, conditioning),
            picture_from(image),
            mask,
            steps=steps,
            seed=seed,
            grow_px=grow,
            context=context,
            resolution=resolution or None,
        )
        return answer(erased, steps, perf_counter() - started)


class EraseOnceEraDiff(io.ComfyNode):
    """EraDiff (CVPR 2025, arXiv 2503.07026): DDIM from the noised original, with Self-Rectifying Attention."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceEraDiff",
            display_name="Erase (EraDiff)",
            description="Removes what the mask covers in many small steps that start from the noised original.",
            search_aliases=["remove object", "eraser", "object removal", "inpaint", "SRA"],
            inputs=[
                *what_to_erase(),
                io.Int.Input(
                    "steps", default=12, min=1, max=1000, tooltip="Sampling steps; more are slower, not always better."
                ),
                *how_to_erase(),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.05,
                    max=1.0,
                    step=0.01,
                    tooltip="How much of the path is walked: 1 starts in the most noise, less skips the noisiest steps "
                    "and keeps more of what is there.",
                ),
                attention_input("attention"),
            ],
            outputs=what_comes_out(),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        vae: VAE,
        conditioning: list,
        image: Tensor,
        mask: Tensor,
        steps: int,
        seed: int,
        grow: int,
        context: float,
        resolution: int,
        strength: float,
        attention: str,
    ) -> io.NodeOutput:
        started = perf_counter()
        erased = eradiff.erase(
            ComfyEngine(model, vae, conditioning),
            picture_from(image),
            mask,
            steps=steps,
            strength=strength,
            attention=attention,
            seed=seed,
            grow_px=grow,
            context=context,
            resolution=resolution or None,
        )
        return answer(erased, len(path(steps, strength)) - 1, perf_counter() - started)


def what_to_erase() -> list[io.Input]:
    """The inputs that come from other nodes."""
    return [
        io.Model.Input(
            "model", tooltip="An inpainting UNet with 9 input channels, from Load Erase Model or Load Checkpoint."
        ),
        io.Vae.Input("vae", tooltip="The autoencoder that belongs to the model."),
        io.Conditioning.Input(
            "conditioning", tooltip="The prompt; Load Erase Model gives the empty one, which erases best."
        ),
        io.Image.Input(
            "image", tooltip="The pictures, RGB. Pixels outside the grown mask come back exactly as they are."
        ),
        io.Mask.Input(
            "mask", tooltip="White where to erase: one mask for all pictures or one each. Cover the shadow too."
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
            tooltip="Another seed gives another fill; the same one gives the same again.",
        ),
        grow_input(),
        context_input(),
        io.Int.Input(
            "resolution",
            default=0,
            min=0,
            max=2048,
            step=64,
            tooltip="Side in pixels of the square that the model works on; 0 takes the model's own.",
        ),
    ]


def what_comes_out() -> list[io.Output]:
    return [
        io.Image.Output(display_name="image", tooltip="The pictures without what the mask covered."),
        io.Mask.Output(display_name="changed", tooltip="Where they may differ from the given ones: the grown mask."),
    ]


def answer(erased: Erased, steps: int, seconds: float) -> io.NodeOutput:
    """The node's outputs, and one sentence about what was done, on the node and in the history."""
    sizes = sorted({f"{crop.work_width} x {crop.work_height}" for crop in erased.crops})
    text = f"{len(erased.crops)} crop(s) at {', '.join(sizes)}, {steps} step(s) each, {seconds:.1f} s."
    if not erased.crops:
        text = "The mask is empty: nothing to erase, the picture is unchanged."
    show_on_node(text)
    return io.NodeOutput(image_from(erased.image), mask_from(erased.changed), ui=ui.PreviewText(text))


def show_on_node(text: str) -> None:
    """Write a text under the node that is being run; the page shows a node's PreviewText nowhere but in the history."""
    running = get_executing_context()
    if running is not None:
        from server import PromptServer  # the running server, there is none in a test

        PromptServer.instance.send_progress_text(text, running.node_id)
