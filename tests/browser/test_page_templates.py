"""The example graphs in the template browser, and open."""

import json
from pathlib import Path

import pytest
from graph_page import GraphPage

from workflows.comfyui import Server

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parent.parent.parent
GRAPHS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "workflows").glob("*.json")}


def test_a_model_that_is_missing_is_offered_with_its_folder(graph_page: GraphPage, server: Server):
    name = "512-inpainting-ema.safetensors"
    file = server.base / "models" / "checkpoints" / name
    file.unlink()
    try:
        graph_page.open_template_browser()["sra_stock_sampler"].click()
        offer = graph_page.dialog.filter(has_text=f"checkpoints / {name}")
        offer.get_by_role("button", name="Download").wait_for()
        graph_page.screenshot("missing_model")
        graph_page.page.keyboard.press("Escape")
        graph_page.dialog.wait_for(state="hidden")
    finally:
        file.touch()


def test_template_browser_lists_the_example_graphs(graph_page: GraphPage):
    assert graph_page.open_template_browser().keys() == GRAPHS.keys()
    graph_page.screenshot("template_browser")
    graph_page.dialog.get_by_role("button").filter(has=graph_page.page.locator("i.pi-times")).first.click()


def test_every_example_graph_opens_whole(graph_page: GraphPage):
    for name, graph in GRAPHS.items():
        graph_page.open_template(name)
        assert {id: node["type"] for id, node in graph_page.nodes().items()} == {
            node["id"]: node["type"] for node in graph["nodes"]
        }
        assert graph_page.unknown_types() == []
        assert graph_page.misses() == []
        graph_page.screenshot(f"graph_{name}")
