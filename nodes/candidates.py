"""Several candidates for one fill, in both erasers: the inputs that ask for them, and the choice as cores take it."""

from functools import partial

from comfy.model_patcher import ModelPatcher
from comfy_api.v0_0_2 import io

from inpainting_core.choosing import MOST_CANDIDATES
from yoeo_core.judge import judge_by

from .detector import detector_input, look

TRIES = 4


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
