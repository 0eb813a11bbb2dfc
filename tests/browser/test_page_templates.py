"""The example graphs in the template browser, and open."""

import json
from pathlib import Path

import pytest
from graph_page import GraphPage

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parent.parent.parent
GRAPHS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "workflows").glob("*.json")}


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
