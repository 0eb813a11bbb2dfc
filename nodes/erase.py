"""Erase (YOEO) and Erase (EraDiff): objects out of a picture, one core function each."""

from functools import partial
from time import perf_counter

from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.v0_0_2 import io
from torch import Tensor

from eradiff_core import pipeline as eradiff
from eradiff_core.attention import Softness
from eradiff_core.sampler import path
from inpainting_core.choosing import MOST_CANDIDATES
from inpainting_core.erasing import Erased
from inpainting_core.telling import sentence
from yoeo_core import pipeline as yoeo
from yoeo_core.judge import judge_by

from .boundary import ComfyEngine, image_from, mask_from, picture_from
from .detector import detector_input, look
from .effects import Asked, effects_input, effects_output
from .memory import said_where_memory_ends
from .schema import attention_input, context_input, grow_input, require_numbers, schema, softness_inputs
from .telling import report_output, tell

TRIES = 4
CALLED = ["erase", "remove object", "object removal", "eraser", "inpaint", "watermark", "clean up", "cleanup", "delete"]
CALLED += ["magic eraser", "retouch", "heal", "content-aware fill", "unwanted", "background fill"]  # what people type


class EraseOnceYOEO(io.ComfyNode):
    """YOEO (CVPR 2026, arXiv 2603.27599): one to four consistency steps from pure noise."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceYOEO",
            display_name="Erase (YOEO)",
            description="Removes what the mask covers, in one to four steps (You Only Erase Once).",
            search_aliases=[*CALLED, "LCM"],
            inputs=[
                *what_to_erase(),
                io.Int.Input("steps", default=2, min=1, max=4, tooltip="Sampling steps. YOEO models are made for 2."),
                *how_to_erase(),
                *best_of_several(),
                io.Boolean.Input(
                    "official",
                    optional=True,
                    default=False,
                    tooltip="The network's own picture, as YOEO's authors score it: all of it at one of their sizes of "
                    "about 512 x 512, nothing of the original laid over it. It uses no grow, context or resolution.",
                ),
                effects_input(),
            ],
            outputs=what_comes_out(),
        )

    @classmethod
    @said_where_memory_ends()
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
        candidates: int = 1,
        until_clean: bool = False,
        tries: int = TRIES,
        detector: ModelPatcher | None = None,
        official: bool = False,
        effects: bool = False,
    ) -> io.NodeOutput:
        require_numbers(context=context)
        started = perf_counter()
        chosen = chosen_by(candidates, until_clean, tries, detector)
        picture = picture_from(image)
        asked = Asked.of(picture, mask, effects)
        given = ComfyEngine(model, vae, conditioning), picture, asked.mask
        if official:
            check_one_answer(candidates, detector)
            erased = yoeo.official(*given, steps=steps, seed=seed)
        else:
            where = {"grow_px": grow, "context": context, "resolution": resolution or None}
            erased = yoeo.erase(*given, steps=steps, seed=seed, **where, **chosen)
        return answer(erased, asked, image, steps, perf_counter() - started, detector is not None)


class EraseOnceEraDiff(io.ComfyNode):
    """EraDiff (CVPR 2025, arXiv 2503.07026): DDIM from the noised original, with Self-Rectifying Attention."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceEraDiff",
            display_name="Erase (EraDiff)",
            description="Removes what the mask covers, in about a dozen steps that start from the noised original.",
            search_aliases=[*CALLED, "SRA"],
            inputs=[
                *what_to_erase(),
                io.Int.Input(
                    "steps",
                    default=12,
                    min=1,
                    max=1000,
                    tooltip="Sampling steps. More is slower and not always better.",
                ),
                *how_to_erase(),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.05,
                    max=1.0,
                    step=0.01,
                    tooltip="1 starts from full noise. Lower values skip the noisiest steps and keep more of "
                    "what is there, the object included.",
                ),
                attention_input("attention"),
                *best_of_several(),
                *softness_inputs(),
                io.Combo.Input(
                    "start",
                    optional=True,
                    options=list(eradiff.STARTS),
                    default=eradiff.STARTS[0],
                    tooltip="Where a path of strength below 1 starts. original: at the noised original; mixed: with "
                    "less of the object, its rest a smooth fill, as in training.",
                ),
                effects_input(),
            ],
            outputs=what_comes_out(),
        )

    @classmethod
    @said_where_memory_ends()
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
        candidates: int = 1,
        until_clean: bool = False,
        tries: int = TRIES,
        detector: ModelPatcher | None = None,
        softness: float = 0.0,
        rising: bool = False,
        start: str = eradiff.STARTS[0],
        effects: bool = False,
    ) -> io.NodeOutput:
        require_numbers(context=context, strength=strength, softness=softness)
        started = perf_counter()
        picture = picture_from(image)
        asked = Asked.of(picture, mask, effects)
        erased = eradiff.erase(
            ComfyEngine(model, vae, conditioning),
            picture,
            asked.mask,
            steps=steps,
            strength=strength,
            attention=attention,
            softness=Softness(softness, rising),
            start=start,
            seed=seed,
            grow_px=grow,
            context=context,
            resolution=resolution or None,
            **chosen_by(candidates, until_clean, tries, detector),
        )
        walked = len(path(steps, strength)) - 1
        return answer(erased, asked, image, walked, perf_counter() - started, detector is not None)


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


def best_of_several() -> list[io.Input]:
    """How several candidates are drawn and chosen between; last, because saved graphs store widgets by position."""
    return [
        io.Int.Input(
            "candidates",
            optional=True,  # as the others here: prompts that were saved before they came still run
            default=1,
            min=1,
            max=MOST_CANDIDATES,
            tooltip="How many fills to draw; the best is kept. With a detector, that is the one with the least left in "
            "the hole; among equals, or without one, the one that fits its surroundings best.",
        ),
        io.Boolean.Input(
            "until_clean",
            display_name="until clean",
            optional=True,
            default=False,
            tooltip="Draw again while the detector finds something in the hole. Needs a detector.",
        ),
        io.Int.Input(
            "tries",
            optional=True,
            default=TRIES,
            min=1,
            max=32,
            tooltip="The most times to draw; used only with until clean.",
        ),
        detector_input(optional=True),
    ]


def chosen_by(candidates: int, until_clean: bool, tries: int, detector: ModelPatcher | None) -> dict:
    """The choice between candidates as the pipelines take it.  Raises ValueError where nobody could say it is clean."""
    if until_clean and detector is None:
        raise ValueError(
            "until_clean needs a detector that says when it is clean, got none. Connect Load Sundry Detector."
        )
    judge = None if detector is None else judge_by(partial(look, detector))
    return {"candidates": candidates, "judge": judge, "tries": tries if until_clean else 1}


def check_one_answer(candidates: int, detector: ModelPatcher | None) -> None:
    """Raise ValueError where more is asked than the network's one answer."""
    if candidates > 1 or detector is not None:
        raise ValueError(
            "official takes the network's one answer for the whole picture: set candidates to 1 and take the detector "
            "away, or switch official off."
        )


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
