"""The subgraph blueprints: erasing as one node with few widgets."""

import io

import numpy as np
import pytest
from graph_page import GraphPage
from PIL import Image

from inpainting_core.built_in import EXAMPLES

pytestmark = pytest.mark.browser

SHOWN = {  # the widgets and the outputs that each blueprint has
    "Erase Object (heal, delete, watermark)": (["model", "unet", "grow", "seed"], []),
    "Remove Unwanted Object (cleanup)": (
        ["model", "unet", "detector", "candidates", "tries", "grow", "seed"],
        ["passed"],
    ),
    "Content-Aware Fill (background fill)": (["model", "unet", "grow", "strength", "seed"], []),
    "Magic Eraser (retouch, inpaint)": (["model", "unet", "detector", "grow", "seed"], []),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_blueprint_is_found_shows_few_widgets_erases_and_says_so(graph_page: GraphPage, name: str):
    graph_page.new_graph()
    example, save = graph_page.add("EraseOnceExamplePicture", left=200), graph_page.add("SaveImage", left=1100)
    eraser = graph_page.place(name)
    widgets, more = SHOWN[name]
    assert [label.split(": ")[-1] for label in graph_page.nodes()[eraser.id]["widgets"]] == widgets
    assert eraser.outputs() == ["image", "changed", "report", *more]
    for output, entry in enumerate(("image", "mask")):
        graph_page.connect(example, output, eraser, entry)
    graph_page.connect(eraser, 0, save, "images")
    previews = [graph_page.add("PreviewAny", left=1400 - 300 * place) for place in range(1 + len(more))]
    for output, preview in enumerate(previews, 2):
        graph_page.connect(eraser, output, preview, "source")
    run = graph_page.run()
    report, *passed = (run["outputs"][str(preview.id)]["text"][0] for preview in previews)
    assert report.startswith("Erased 1 object") and passed == ["True"] * len(more)
    graph_page.wait_for_text(report)
    (image,) = run["outputs"][str(save.id)]["images"]
    photo, mask = (np.asarray(Image.open(path)) for path in EXAMPLES["wren"])
    after = np.asarray(Image.open(io.BytesIO(graph_page.get("/view", **image).body())))
    assert (after[mask > 0] != photo[mask > 0]).any(-1).mean() > 0.9
    assert (after[:, 500:] == photo[:, 500:]).all()
