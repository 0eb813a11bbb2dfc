"""Graphs that do not fit, sent to a real server: it says which input of which node, lives on, and runs the next one."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from test_server import drive

from workflows.client import Client, NodeError, PromptError
from workflows.comfyui import Server
from workflows.describe import inputs, ours

# What other nodes give, by its type: a small picture and its mask, the nano model, the nano detector, a crop.
GIVEN = {
    "IMAGE": ["small", 0],
    "MASK": ["small_mask", 0],
    "MODEL": ["loaded", 0],
    "VAE": ["loaded", 1],
    "CONDITIONING": ["loaded", 2],
    "ERASE_ONCE_DETECTOR": ["detector", 0],
    "ERASE_ONCE_CROP": ["crop", 2],
}
OTHERS = {
    "small": {"class_type": "EmptyImage", "inputs": {"width": 96, "height": 64, "batch_size": 1, "color": 255}},
    "white": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 96, "height": 64}},
    "small_mask": {
        "class_type": "FeatherMask",
        "inputs": {"mask": ["white", 0], "left": 96, "right": 0, "top": 0, "bottom": 0},
    },
    "loaded": {"class_type": "EraseOnceLoadModel", "inputs": {"model": "nano (built in)", "unet": "none"}},
    "detector": {"class_type": "EraseOnceLoadDetector", "inputs": {"detector": "nano detector (built in)"}},
    "crop": {
        "class_type": "EraseOnceCrop",
        "inputs": {"image": ["small", 0], "mask": ["small_mask", 0], "grow": 0, "context": 0.5, "resolution": 64},
    },
}


def kind_of(spec: list) -> str:
    return "COMBO" if isinstance(spec[0], list) else spec[0]


def right_value(name: str, spec: list) -> object:
    """What fits an input of a node: another node's output, or the widget's own default."""
    kind = kind_of(spec)
    if (name, kind) == ("EraseOnceStitch", "IMAGE"):
        return ["crop", 0]
    if kind in GIVEN:
        return GIVEN[kind]
    return spec[1]["default"]


def prompt_of(name: str, node: dict, **changed: object) -> dict:
    """A graph around one node, whose inputs all fit but those that are changed; None of one that is missing."""
    given = {key: right_value(name, spec) for key, spec in inputs(node).items() if key in node["input"]["required"]}
    given |= changed
    given = {key: value for key, value in given.items() if value is not MISSING}
    graph = {**OTHERS, "tested": {"class_type": name, "inputs": given}}
    return graph | {"show": {"class_type": "PreviewAny", "inputs": {"source": ["tested", 0]}}}


class MISSING:
    """In the place of an input that is not given."""


def wrong_values(spec: list) -> Iterator[object]:
    """What does not fit an input: another kind, out of range, not in the list."""
    kind, options = kind_of(spec), spec[1]
    if kind in GIVEN:
        yield from ([*GIVEN[other]] for other in GIVEN if other != kind)
        yield from (3, "x", None, ["nowhere", 0], [GIVEN[kind][0], 99], [GIVEN[kind][0]], {"a": 1})
    elif kind == "COMBO":
        yield from ("no such thing", "../../etc/passwd", 3, None, "", GIVEN["IMAGE"])
    elif kind in ("INT", "FLOAT"):
        yield from (options["min"] - 1, options["max"] + 1, "many", None, GIVEN["IMAGE"], float("nan"), 10**30, {})


@pytest.mark.parametrize("share", [5, pytest.param(1, marks=pytest.mark.full)])
def test_every_input_that_does_not_fit_is_named_and_the_server_goes_on(server: Server, object_info: dict, share: int):
    """One in so many of what does not fit each input, a different one from input to input."""

    async def refused(client: Client, name: str, key: str, prompt: dict) -> None:
        try:
            await asyncio.wait_for(client.run(prompt), 60)
        except PromptError as error:
            assert set(error.nodes) <= {"tested", "show"}, (name, key)
        except NodeError as error:
            assert error.node == "tested", (name, key, str(error))
            assert "Traceback" not in str(error)
        else:
            raise AssertionError(f"{name} took {prompt['tested']['inputs'][key]!r} for {key}")

    async def right(client: Client) -> dict[str, str]:
        """What every node says where all of its inputs fit, by its name."""
        said = {}
        for name, node in ours(object_info).items():
            quick = {key: value for key, value in {"steps": 1, "resolution": 64}.items() if key in inputs(node)}
            (text,) = (await client.run(prompt_of(name, node, **quick)))["show"]["text"]
            said[name] = re.sub("0x[0-9a-f]+", "", text)  # of a model nothing but its address is shown
        return said

    async def scenario(client: Client) -> int:
        tried, before = 0, await right(client)
        assert all("tensor" in before[f"EraseOnce{name}"] for name in ("YOEO", "EraDiff", "Stitch", "SnapMask"))
        for name, node in ours(object_info).items():
            for key, spec in inputs(node).items():
                required = key in node["input"]["required"]
                for value in [*[*wrong_values(spec)][tried % share :: share], MISSING]:
                    if not required and value in (None, MISSING):  # which an optional one may be
                        continue
                    await refused(client, name, key, prompt_of(name, node, **{key: value}))
                    tried += 1
        OTHERS["small"]["inputs"]["color"] = 0  # another picture first, or nothing would be run again
        other = await right(client)
        OTHERS["small"]["inputs"]["color"] = 255
        assert await right(client) == before != other
        return tried

    assert drive(server, scenario) > 300 / share
    assert server.process.poll() is None
