"""Erase (YOEO) and Erase (EraDiff): objects out of a picture, one core function each."""

from time import perf_counter

from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.v0_0_2 import io
from torch import Tensor

from eradiff_core import pipeline as eradiff
from eradiff_core.attention import Softness
from eradiff_core.sampler import path
from yoeo_core import pipeline as yoeo

from .boundary import ComfyEngine, picture_from
from .candidates import TRIES, best_of_several, check_one_answer, chosen_by
from .effects import Asked, effects_input
from .eraser import answer, how_to_erase, what_comes_out, what_to_erase
from .memory import said_where_memory_ends
from .schema import attention_input, require_numbers, schema, softness_inputs

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
