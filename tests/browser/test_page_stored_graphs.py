"""Graphs that people have: in the pictures they saved, and in files from before the nodes grew."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from graph_page import GraphPage

from workflows.comfyui import Server

pytestmark = pytest.mark.browser

TESTS = Path(__file__).resolve().parent.parent
STORED = sorted((TESTS / "stored_graphs").glob("*.json"))


@pytest.fixture(scope="module")
def files_named_in_graphs(comfyui: Path, server: Server) -> Iterator[None]:
    """ComfyUI's own example picture, and an empty file as the stock checkpoint, which earlier graphs named."""
    picture = server.base / "input" / "example.png"
    checkpoint = server.base / "models" / "checkpoints" / "512-inpainting-ema.safetensors"
    shutil.copy(comfyui / "input" / "example.png", picture)
    checkpoint.touch()
    yield
    picture.unlink(), checkpoint.unlink()


def test_a_saved_picture_dropped_on_an_empty_canvas_brings_its_graph_back(graph_page: GraphPage, photo: Path):
    graph_page.open_template("erase_yoeo")
    erase, save = graph_page.node("EraseOnceYOEO"), graph_page.node("SaveImage")
    erase.set_number("grow", 7)
    graph_page.take_own_picture(photo)
    (image,) = graph_page.run()["outputs"][str(save.id)]["images"]
    before = kept(graph_page)
    graph_page.new_graph()
    graph_page.drop(graph_page.get("/view", **image).body(), image["filename"], "image/png", nodes=len(before))
    assert kept(graph_page) == before


def kept(graph_page: GraphPage) -> dict[int, tuple[str, dict]]:
    """What a graph must keep of every node: its type and widget values, but not what the page shows after a run."""
    return {
        id: (node["type"], {name: value for name, value in node["widgets"].items() if not shown_after_a_run(name)})
        for id, node in graph_page.nodes().items()
    }


def shown_after_a_run(widget: str) -> bool:
    """Whether a widget is the page's own: a picture, or the text of Preview as Text."""
    return widget.startswith("$$") or widget == "preview"


def test_graphs_of_earlier_versions_open_with_their_values(files_named_in_graphs: None, graph_page: GraphPage):
    for path in STORED:
        stored_nodes = json.loads(path.read_text())["nodes"]
        graph_page.new_graph()
        graph_page.drop(path.read_bytes(), path.name, "application/json", nodes=len(stored_nodes))
        nodes = graph_page.nodes()
        assert graph_page.unknown_types() == []
        graph_page.fit_view()
        assert graph_page.misses() == []
        for stored in stored_nodes:
            opened = nodes[stored["id"]]
            assert opened["type"] == stored["type"]
            values = list(opened["widgets"].values())[: len(stored["widgets_values"])]
            assert values == stored["widgets_values"], f"{path.stem}: {stored['type']}"
