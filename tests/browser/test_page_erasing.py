"""A person's whole way: picture, mask, settings, run, result; and a run that is cancelled."""

import io
from pathlib import Path

import numpy as np
import pytest
from graph_page import GraphPage
from mask_editor import BRUSH_PX, paint
from PIL import Image, ImageDraw
from scipy import ndimage

pytestmark = pytest.mark.browser

STROKE = [(212, 42), (178, 52), (160, 48), (172, 62), (150, 62), (165, 80), (142, 80), (162, 98), (135, 100)]
STROKE += [(160, 115), (133, 118), (158, 130), (138, 132)]  # pixels of the photo, over the wren
GROWN_PX = 16  # more than the graph grows the mask and blends the seam


def test_upload_mask_settings_run_and_result(graph_page: GraphPage, photo: Path):
    graph_page.open_template("erase_yoeo")
    erase, save = graph_page.node("EraseOnceYOEO"), graph_page.node("SaveImage")
    erase.set_number("steps", 1)
    load = graph_page.take_own_picture(photo)
    load.open_mask_editor()
    paint(graph_page.page, 384, STROKE)
    graph_page.screenshot("mask_editor")
    load.save_mask()
    run = graph_page.run()
    assert run["status"]["status_str"] == "success"
    assert run["prompt"][2][str(erase.id)]["inputs"]["steps"] == 1
    (image,) = run["outputs"][str(save.id)]["images"]
    save.wait_for_picture(image["filename"])
    before = np.asarray(Image.open(photo))
    after = np.asarray(Image.open(io.BytesIO(graph_page.get("/view", **image).body())))
    distance = distance_to(STROKE, before.shape[:2])
    hole, far = distance < BRUSH_PX - 2, distance > BRUSH_PX + GROWN_PX
    assert (after[hole] != before[hole]).any(-1).mean() > 0.9
    assert (after[far] == before[far]).all()


def distance_to(stroke: list[tuple[int, int]], size: tuple[int, int]) -> np.ndarray:
    """How far each pixel lies from a line."""
    line = Image.new("L", size[::-1])
    ImageDraw.Draw(line).line(stroke, fill=255)
    return ndimage.distance_transform_edt(~(np.asarray(line) > 0))


def test_a_cancelled_run_ends_and_the_next_one_works(graph_page: GraphPage):
    graph_page.open_template("erase_eradiff")
    erase, save = graph_page.node("EraseOnceEraDiff"), graph_page.node("SaveImage")
    erase.set_number("steps", 1000)
    prompt = graph_page.start()
    erase.wait_until_running()
    graph_page.button("Cancel current run").click()
    cancelled = graph_page.ended(prompt)
    assert "execution_interrupted" in [kind for kind, _ in cancelled["status"]["messages"]]
    assert str(save.id) not in cancelled["outputs"]
    erase.set_number("steps", 2)
    (image,) = graph_page.run()["outputs"][str(save.id)]["images"]
    save.wait_for_picture(image["filename"])
