"""The example graphs in the template browser, what they offer to download, and the first click on Run."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from graph_page import GraphPage
from PIL import Image

from inpainting_core.built_in import EXAMPLES

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parent.parent.parent
GRAPHS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "workflows").glob("*.json")}
NEWER = "words_boxes_points_sam3"  # needs nodes that came after the ComfyUI of these tests
FLUX = "sra_flux_fill"  # needs files of the user's
REAL = {
    "erase_yoeo": "sd-v1-5-inpainting.safetensors",
    "erase_eradiff": "512-inpainting-ema.safetensors",
    "sra_stock_sampler": "512-inpainting-ema.safetensors",
}


@pytest.mark.parametrize("name", REAL)
def test_the_real_weights_are_offered_with_their_folder(graph_page: GraphPage, name: str):
    graph_page.open_template_browser()[name].click()
    offer = graph_page.dialog.filter(has_text=f"checkpoints / {REAL[name]}")
    offer.get_by_role("button", name="Download").wait_for()
    graph_page.screenshot(f"real_weights_{name}")
    graph_page.close_dialog("Missing Models")


def test_template_browser_lists_the_example_graphs(graph_page: GraphPage):
    assert graph_page.open_template_browser().keys() == GRAPHS.keys()
    graph_page.screenshot("template_browser")
    graph_page.dialog.get_by_role("button").filter(has=graph_page.page.locator("i.pi-times")).first.click()


@pytest.mark.parametrize("name", sorted(GRAPHS.keys() - {NEWER, FLUX}))
def test_an_example_opens_whole_and_the_first_click_on_run_erases_and_says_so(graph_page: GraphPage, name: str):
    graph_page.open_template(name)
    types = {node["id"]: node["type"] for node in GRAPHS[name]["nodes"]}
    assert {id: node["type"] for id, node in graph_page.nodes().items()} == types
    assert graph_page.unknown_types() == [] and graph_page.misses() == []
    run = graph_page.run()
    assert run["status"]["status_str"] == "success"
    for id, node_type in types.items():
        if node_type == "PreviewAny":
            graph_page.wait_for_text(run["outputs"][str(id)]["text"][0])
    strip = graph_page.titled("Before and after")
    (shown,) = run["outputs"][str(strip.id)]["images"]
    strip.wait_for_picture(shown["filename"])
    before, after = halves(graph_page, shown)
    hole = np.asarray(Image.open(EXAMPLES[GRAPHS[name]["nodes"][0]["widgets_values"][0]][1])) > 0
    assert (after[hole] != before[hole]).any(-1).mean() > 0.9
    graph_page.screenshot(f"graph_{name}")


def halves(graph_page: GraphPage, shown: dict) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of a strip, with its line of 8 pixels between them."""
    strip = np.asarray(Image.open(io.BytesIO(graph_page.get("/view", **shown).body())).convert("RGB"))
    width = (strip.shape[1] - 8) // 2
    return strip[:, :width], strip[:, -width:]


def test_a_graph_for_a_newer_comfyui_says_what_is_missing(graph_page: GraphPage):
    graph_page.open_template_browser()[NEWER].click()
    graph_page.close_dialog("Missing Models")  # over the other one
    graph_page.screenshot("missing_nodes")
    graph_page.close_dialog("SAM3_Detect")
    assert set(graph_page.unknown_types()) == {"SAM3_Detect"}
    graph_page.fit_view()
    graph_page.wait_for_text("Older ComfyUI: masks from any segmentation node go into the same mask input.")
    graph_page.screenshot(f"graph_{NEWER}")
