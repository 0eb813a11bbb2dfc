"""The example graphs as a fresh install opens them: nothing is missing, and one run makes something disappear."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from test_server import ROOT, drive, saved, stored

from inpainting_core.built_in import EXAMPLES
from workflows.client import Client
from workflows.comfyui import Server
from workflows.convert import MUTED, NOTES, has_upload, widget_values, widgets

GRAPHS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "workflows").glob("*.json"))}
# Graphs that run only with files of the user's, and those of their nodes that 0.3.75 lacks.
NEWER = {"words_boxes_points_sam3": {"SAM3_Detect"}, "sra_flux_fill": set()}
RUNNING = [name for name in GRAPHS if name not in NEWER]
SAYS = "Erased ", "Passed: ", "1 of 3 parts snapped"  # how the reports begin
REACH_PX = 40  # of the widest grown mask from the picture's own
LAPTOP = (1600 / 0.6, 1000 / 0.6)  # what a laptop's page shows at 60 %


@pytest.fixture(params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> dict:
    return GRAPHS[request.param]


def test_there_are_examples_and_each_has_a_thumbnail():
    assert {
        "crop_stitch_second_pass",
        "erase_check_retry",
        "erase_eradiff",
        "erase_yoeo",
        "generate_erase_check_upscale",
        "many_objects",
        "sra_flux_fill",
        "sra_stock_sampler",
        "video_one_mask",
        "words_boxes_points_sam3",
    } == GRAPHS.keys()
    assert {path.stem for path in (ROOT / "workflows").glob("*.jpg")} == GRAPHS.keys()


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_asks_for_no_file_that_a_fresh_install_lacks(name: str, object_info: dict):
    """A file of the user's is chosen in a combo: every choice must be one that a server without any files offers.

    A muted node, and a graph that runs only with files of the user's, may ask for the model that it tells how to get.
    """
    told = {model["name"] for node in GRAPHS[name]["nodes"] for model in node["properties"].get("models", [])}
    for node in GRAPHS[name]["nodes"]:
        if node["type"] in NOTES | NEWER.get(name, set()):
            continue
        info = object_info[node["type"]]
        values = widget_values(node, info)
        for key, kind, options in widgets(info):
            if kind == "COMBO":
                offered = options.get("options") or choices(info, key)
                later = name in NEWER or node["mode"] == MUTED
                assert values[key] in offered or (later and values[key] in told), f"{node['type']}.{key}"
        assert not has_upload(info), f"{node['type']} holds a file of the user's"


def choices(info: dict, key: str) -> list[str]:
    """What a combo of the older form offers: a list in the place of its type."""
    return {**info["input"]["required"], **info["input"].get("optional", {})}[key][0]


def test_links_lie_on_the_slots_that_the_nodes_have(graph: dict, object_info: dict):
    nodes = {node["id"]: node for node in graph["nodes"]}
    for number, origin, output, target, place, kind in graph["links"]:
        assert number in nodes[origin]["outputs"][output]["links"] and nodes[origin]["outputs"][output]["type"] == kind
        assert nodes[target]["inputs"][place]["link"] == number
    for node in graph["nodes"]:
        if node["type"] in object_info:
            known = object_info[node["type"]]["output"]
            assert [output["type"] for output in node.get("outputs", [])] == known, node["type"]


def test_a_note_says_how_to_take_ones_own_picture(graph: dict):
    (note,) = [node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "MarkdownNote"]
    (line,) = [line for line in note.splitlines() if line.startswith("**Your own ")]
    assert "**Load " in line and "nano" in note


def test_groups_are_numbered_in_reading_order_and_fit_a_laptop(graph: dict):
    groups = graph["groups"]
    assert [group["title"].split(" · ")[0] for group in groups] == [str(n) for n in range(1, len(groups) + 1)]
    columns = [(group["bounding"][1] > 500, group["bounding"][0], group["bounding"][1]) for group in groups]
    assert columns == sorted(columns)  # by row, and in a row by column
    boxes = [node["pos"] + [a + b for a, b in zip(node["pos"], node["size"], strict=True)] for node in graph["nodes"]]
    left, top, right, bottom = (pick(box[i] for box in boxes) for i, pick in enumerate((min, min, max, max)))
    assert right - left < LAPTOP[0] and bottom - top < LAPTOP[1]


def test_what_the_erasers_say_and_before_beside_after_are_shown(graph: dict):
    titles = {
        node["id"]: node.get("title") for node in graph["nodes"] if node["type"] in ("PreviewAny", "PreviewImage")
    }
    links = {link[0]: link for link in graph["links"]}
    for node in graph["nodes"]:
        if node["type"] in ("EraseOnceYOEO", "EraseOnceEraDiff"):
            (report,) = [output for output in node["outputs"] if output["name"] == "report"]
            assert [titles[links[number][3]] for number in report["links"]]
    assert "Before and after" in titles.values()


@pytest.mark.parametrize("name", RUNNING)
def test_one_run_of_the_graph_as_it_is_makes_something_disappear(server: Server, name: str):
    async def scenario(client: Client) -> tuple[str, dict, np.ndarray]:
        prompt = await stored(client, name)
        (picture,) = [node["inputs"]["picture"] for node in prompt.values() if "Example" in node["class_type"]]
        outputs = await client.run(prompt)
        shown = outputs[next(id for id, node in prompt.items() if node["_meta"]["title"] == "Before and after")]
        strip = Image.open(io.BytesIO(await client.view(shown["images"][0])))
        reports = [outputs[id]["text"][0] for id, node in prompt.items() if node["class_type"] == "PreviewAny"]
        return picture, reports, np.asarray(strip)

    picture, reports, strip = drive(server, scenario)
    assert all(report.startswith(SAYS) for report in reports) and reports
    photo, mask = (np.asarray(Image.open(path)) for path in EXAMPLES[picture])
    before, after = strip[:, : photo.shape[1]], strip[:, -photo.shape[1] :]
    assert (before == photo).all() and after.shape == photo.shape
    distance = ndimage.distance_transform_edt(mask == 0)
    assert (after[distance == 0] != photo[distance == 0]).any(-1).mean() > 0.9
    if name != "many_objects":  # whose mask has more parts than the picture's own
        assert (after[distance > REACH_PX] == photo[distance > REACH_PX]).all()


def test_the_second_pass_brings_no_ghost_back(server: Server):
    """A second pass by a sampler that sees grey under the mask drew the bird's outline in the sky again."""

    async def scenario(client: Client) -> np.ndarray:
        return await saved(client, await client.run(await stored(client, "crop_stitch_second_pass")))

    after = drive(server, scenario).astype(float)
    photo, mask = (np.asarray(Image.open(path)) for path in EXAMPLES["wren"])
    hole = mask > 0
    rows = np.arange(len(mask))[:, None]
    upper = hole & (rows < np.nonzero(hole.any(1))[0][0] + hole.any(1).sum() // 2)  # head and back, before the sky
    ring = ndimage.binary_dilation(upper, iterations=30) & ~ndimage.binary_dilation(hole, iterations=16)
    ring &= rows < np.nonzero(upper.any(1))[0][-1]
    sky, fill = after[ring].mean(0), after[upper].mean(0)
    assert abs(fill - sky).max() < 4, (fill, sky)
