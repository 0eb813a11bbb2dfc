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
    for node, widget in form["inputs"]:
        assert widget in [known for known, _, _ in widgets(object_info[types[node]])]
    assert [types[node] for node, widget in form["inputs"] if widget == "picture"] == ["EraseOnceExamplePicture"]
    assert {"SaveImage", "PreviewAny"} <= {types[node] for node in form["outputs"]}  # the picture and the report
    assert len(form["inputs"]) <= 6


def test_the_erasers_graphs_have_a_form():
    assert {"erase_yoeo", "erase_eradiff", "erase_check_retry"} == APPS.keys()
