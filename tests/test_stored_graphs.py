"""Graphs saved by earlier versions: a node stores its widgets by position, so none may come before those it had."""

import json
from pathlib import Path

import pytest

from workflows.convert import has_control, to_prompt, widgets

STORED = sorted((Path(__file__).resolve().parent / "stored_graphs").glob("*.json"))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_every_node_begins_with_the_widgets_it_was_stored_with(path: Path, object_info: dict):
    for node in ours(path):
        now = [name for name, _, _ in widgets(object_info[node["type"]])]
        assert now[: len(stored_widgets(node))] == stored_widgets(node), node["type"]


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_every_widget_gets_the_value_it_was_stored_with(path: Path, object_info: dict):
    prompt = to_prompt(json.loads(path.read_text()), object_info)
    for node in ours(path):
        inputs, values = prompt[str(node["id"])]["inputs"], list(node["widgets_values"])
        for name, kind, options in widgets(object_info[node["type"]])[: len(stored_widgets(node))]:
            assert inputs[name] == values.pop(0), f"{node['type']}.{name}"
            if has_control(name, kind, options):
                assert values.pop(0) == "fixed"
        assert values == []


def test_there_are_stored_graphs():
    assert {"erase_yoeo", "erase_eradiff", "sra_stock_sampler", "crop_stitch_second_pass"} == {p.stem for p in STORED}


def ours(path: Path) -> list[dict]:
    """A graph's nodes that are of this pack."""
    return [node for node in json.loads(path.read_text())["nodes"] if node["type"].startswith("EraseOnce")]


def stored_widgets(node: dict) -> list[str]:
    """The names of a stored node's widgets, in the order of its values."""
    return [slot["name"] for slot in node.get("inputs", []) if "widget" in slot]
