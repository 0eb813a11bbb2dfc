"""App mode, ComfyUI's form in place of the graph: what the example graphs put on it is there."""

import json
from pathlib import Path

import pytest

from workflows.convert import widgets

ROOT = Path(__file__).resolve().parent.parent
GRAPHS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "workflows").glob("*.json"))}
APPS = {name: graph for name, graph in GRAPHS.items() if "linearData" in graph["extra"]}


@pytest.mark.parametrize("name", APPS)
def test_the_form_asks_for_the_picture_and_shows_the_result(name: str, object_info: dict):
    types = {node["id"]: node["type"] for node in APPS[name]["nodes"]}
    form = APPS[name]["extra"]["linearData"]
    asked = [(node, widget) for node, widget in form["inputs"] if types[node] != "PreviewAny"]
    for node, widget in asked:
        assert widget in [known for known, _, _ in widgets(object_info[types[node]])]
    assert [types[node] for node, widget in form["inputs"] if widget == "picture"] == ["EraseOnceExamplePicture"]
    assert "SaveImage" in {types[node] for node in form["outputs"]}
    assert len(asked) <= 6


@pytest.mark.parametrize("name", APPS)
def test_the_form_shows_the_report(name: str):
    """As a widget: the form's gallery shows pictures, and no text."""
    titles = {node["id"]: node.get("title") for node in APPS[name]["nodes"]}
    assert [titles[node] for node, widget in APPS[name]["extra"]["linearData"]["inputs"][-1:]] == ["Report"]
    assert APPS[name]["extra"]["linearData"]["inputs"][-1][1] == "preview_text"  # of a newer page's text preview


def test_the_erasers_graphs_have_a_form():
    assert {"erase_yoeo", "erase_eradiff", "erase_check_retry"} == APPS.keys()
