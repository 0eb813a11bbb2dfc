"""Schemas that every supported ComfyUI accepts, and the inputs that several nodes have."""

from collections.abc import Iterable
from dataclasses import fields
from math import isnan

from comfy_api.v0_0_2 import io

from eradiff_core.attention import MODES

CATEGORY = "inpaint/erase"


def require_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError for a value that a combo does not offer: ComfyUI 0.3.75 lets a graph bring any."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")


def require_numbers(**values: float) -> None:
    """Raise ValueError for a NaN, which ComfyUI lets pass as being neither too small nor too large."""
    for name, value in values.items():
        if isnan(value):
            raise ValueError(f"{name} must be a number, got {value}.")


def schema(**declared) -> io.Schema:
    """A node's schema in our category, without the keywords that this ComfyUI is too old to know.

    ``search_aliases``, for one, came after 0.3.75, which rejects what it does not know.
    """
    known = {field.name for field in fields(io.Schema)}
    return io.Schema(category=CATEGORY, **{name: value for name, value in declared.items() if name in known})


def grow_input() -> io.Int.Input:
    return io.Int.Input(
        "grow",
        default=5,
        min=0,
        max=64,
        tooltip="Widens the mask by this many pixels and blends the seam over them. It scales up in crops larger than "
        "512 px or the model's own size.",
    )


def context_input() -> io.Float.Input:
    return io.Float.Input(
        "context",
        default=0.5,
        min=0.0,
        max=4.0,
        step=0.05,
        tooltip="How much of the surroundings the model sees on each side, as a fraction of the hole's size.",
    )


def softness_inputs() -> list[io.Input]:
    """How soft that attention is; last, because saved graphs store widgets by position."""
    return [
        io.Float.Input(
            "softness",
            optional=True,  # prompts that were saved before it came still run
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="How much of the blocked attention is let through: 0 is the paper's, 1 is plain attention.",
        ),
        io.Boolean.Input(
            "rising",
            display_name="softness rises",
            optional=True,
            default=False,
            tooltip="Start at this softness and let it rise to 1 as the noise leaves.",
        ),
    ]


def attention_input(name: str) -> io.Combo.Input:
    return io.Combo.Input(
        name,
        options=list(MODES),
        default=MODES[0],
        tooltip="rectified: the hole does not attend to itself; strict: nothing attends to the hole; off: plain "
        "attention.",
    )
