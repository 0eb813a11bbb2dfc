"""Sundry Check (Mask2Former): whether an erasure left, or put, something in the hole."""

from functools import partial

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.v0_0_2 import io
from torch import Tensor

from inpainting_core.alpha import visible
from inpainting_core.erasing import check_picture
from inpainting_core.masks import as_mask, peaks
from inpainting_core.telling import counted, without_hole
from yoeo_core.check import IOS, Verdict, check_by_metric
from yoeo_core.close_check import check_closely
from yoeo_core.close_up import Look
from yoeo_core.detector import Detections
from yoeo_core.entities import SURE

from .boundary import image_from, mask_from, picture_from
from .detector import detections, detector_input, look
from .memory import said_where_memory_ends
from .overlay import drawn
from .schema import require_choice, require_numbers, schema
from .telling import report_of, report_output, tell

PRESETS = ("loss", "metric", "custom")


class EraseOnceSundryCheck(io.ComfyNode):
    """One verdict a picture: passed where the detector finds no entity that lies in the hole."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceSundryCheck",
            display_name="Sundry Check (Mask2Former)",
            description="Tells whether the hole is clean or something is still, or newly, in it, and draws what "
            "it found.",
            search_aliases=["object left", "quality check", "verify removal", "sundries", "MSN", "MARS", "YOEO"],
            inputs=[
                io.Image.Input(
                    "image", tooltip="The pictures after erasing, RGB with or without alpha. Each is judged by itself."
                ),
                io.Mask.Input(
                    "mask",
                    tooltip="White where something was erased, with a margin; the changed output of the Erase "
                    "nodes is right. One mask for all pictures or one each; several for one picture are merged.",
                ),
                detector_input(),
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default=PRESETS[0],
                    tooltip="loss: YOEO's training rule (IoS 0.9, score 0.2), which finds more; metric: the rule of "
                    "MSN and MARS (0.95 of a segment in the hole, 0.005 of the hole); custom: the rule of loss with "
                    "the two numbers below.",
                ),
                io.Float.Input(
                    "ios",
                    display_name="IoS",
                    default=IOS,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How much of an object must lie in the hole to count as a leftover; used only with "
                    "preset custom.",
                ),
                io.Float.Input(
                    "score",
                    default=SURE,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How sure the detector must be of an object; used only with preset custom.",
                ),
            ],
            outputs=[
                io.Boolean.Output(
                    display_name="passed",
                    is_output_list=True,
                    tooltip="True if the detector finds nothing in the hole; one per picture.",
                ),
                io.Int.Output(
                    display_name="count", is_output_list=True, tooltip="How many leftovers were found; one per picture."
                ),
                io.Float.Output(
                    display_name="area",
                    is_output_list=True,
                    tooltip="How much of the hole they cover, 0 to 1; one per picture.",
                ),
                io.Mask.Output(
                    display_name="sundries", tooltip="White where the leftovers are; they may reach beyond the hole."
                ),
                io.Image.Output(
                    display_name="overlay", tooltip="The pictures with every object numbered and leftovers in red."
                ),
                report_output(),
            ],
        )

    @classmethod
    @said_where_memory_ends()
    def execute(
        cls, image: Tensor, mask: Tensor, detector: ModelPatcher, preset: str, ios: float, score: float
    ) -> io.NodeOutput:
        require_choice("preset", preset, PRESETS)
        require_numbers(ios=ios, score=score)
        picture = picture_from(image)
        check_picture(picture)
        hole = as_mask(mask, *picture.shape[-2:], frames=len(picture)).expand(len(picture), -1, -1, -1)
        highest = peaks(mask, len(picture)).amax(1).expand(len(picture)).tolist()
        looked_at = visible(picture).clamp(0, 1).float()
        verdicts, said, overlays = [], [], []
        seen = looked_at.split(1), hole.split(1), highest, detections(detector, looked_at)
        for one, where, peak, found in zip(*seen, strict=True):
            verdicts.append(judge(one, where, found, partial(look, detector), preset, ios, score))
            said.append(sentence(verdicts[-1], where, peak))
            overlays.append(drawn(one[0].cpu(), where[0, 0].cpu() > 0, verdicts[-1], said[-1]))
        return answer(verdicts, said, torch.stack(overlays), image)


def judge(
    picture: Tensor, hole: Tensor, whole: Detections, near: Look, preset: str, ios: float, score: float
) -> Verdict:
    """The verdict on one picture, by the preset's rule; that of the metrics looks at the whole picture alone."""
    if preset == "metric":
        return check_by_metric(whole, hole.to(whole.mask_logits))[0]
    custom = {"ios": ios, "score": score} if preset == "custom" else {}
    return check_closely(picture, hole, whole, near, **custom)


def sentence(verdict: Verdict, hole: Tensor, highest: float) -> str:
    """A verdict in words; ``highest`` is the highest value of the mask that the hole is of."""
    if not hole.any():
        why = without_hole(highest)
        return f"Not checked: {why[0].lower()}{why[1:]}, so there is no hole to look at."
    if verdict.passed:
        return f"Passed: the detector finds nothing in the hole ({counted(len(verdict.others), 'other object')} seen)."
    scores = ", ".join(f"{score:.2f}" for score in verdict.sundries.scores.tolist())
    if verdict.count == 1:
        return f"Failed: 1 leftover covers {verdict.area:.1%} of the hole (score {scores})."
    return f"Failed: {verdict.count} leftovers cover {verdict.area:.1%} of the hole (scores {scores})."


def answer(verdicts: list[Verdict], said: list[str], overlays: Tensor, image: Tensor) -> io.NodeOutput:
    """The node's outputs, and every verdict in words, on the node and in the history."""
    report = report_of(said)
    sundries = torch.stack([verdict.sundry_mask[None].float() for verdict in verdicts])
    return io.NodeOutput(
        [verdict.passed for verdict in verdicts],
        [verdict.count for verdict in verdicts],
        [verdict.area for verdict in verdicts],
        mask_from(sundries, image),
        image_from(overlays, image),
        report,
        ui=tell(report),
    )
