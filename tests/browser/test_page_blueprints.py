"""The subgraph blueprints: erasing as one node with few widgets."""

import io
from pathlib import Path

import numpy as np
import pytest
from graph_page import GraphPage
from PIL import Image

pytestmark = pytest.mark.browser

FEW = {  # the widgets that each blueprint shows
    "Erase Object by Inpainting": ["model", "grow", "seed"],
    "Remove Object Until Clean": ["model", "detector", "candidates", "tries", "grow", "seed"],
}


@pytest.mark.parametrize("name", FEW)
def test_a_blueprint_is_found_shows_few_widgets_and_erases(
    graph_page: GraphPage, photo: Path, masked_photo: Path, name: str
):
    graph_page.new_graph()
    load, save = graph_page.add("LoadImage", left=200), graph_page.add("SaveImage", left=1100)
    eraser = graph_page.place(name)
    assert [label.split(": ")[-1] for label in graph_page.nodes()[eraser.id]["widgets"]] == FEW[name]
    load.upload(masked_photo)
    for output, entry in enumerate(("image", "mask")):
        graph_page.connect(load, output, eraser, entry)
    graph_page.connect(eraser, 0, save, "images")
    run = graph_page.run()
    (image,) = run["outputs"][str(save.id)]["images"]
    before = np.asarray(Image.open(photo))
    after = np.asarray(Image.open(io.BytesIO(graph_page.get("/view", **image).body())))
    assert (after[60:120, 150:190] != before[60:120, 150:190]).any(-1).mean() > 0.9
    assert (after[:, :100] == before[:, :100]).all()
