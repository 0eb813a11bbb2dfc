"""Finding a node, reading its help, and seeing what went wrong on it."""

from pathlib import Path

import pytest
from graph_page import GraphPage

pytestmark = pytest.mark.browser

CALLED = {
    "erase": "Erase (YOEO)",
    "remove object": "Remove Unwanted Object (cleanup)",
    "watermark": "Erase Object (heal, delete, watermark)",
    "clean up": "Remove Unwanted Object (cleanup)",
    "cleanup": "Remove Unwanted Object (cleanup)",
    "delete": "Erase Object (heal, delete, watermark)",
    "magic eraser": "Magic Eraser (retouch, inpaint)",
    "retouch": "Magic Eraser (retouch, inpaint)",
    "heal": "Erase Object (heal, delete, watermark)",
    "content-aware fill": "Content-Aware Fill (background fill)",
    "unwanted": "Remove Unwanted Object (cleanup)",
    "background fill": "Content-Aware Fill (background fill)",
}
HELP = Path(__file__).resolve().parent.parent.parent / "web" / "docs"


def test_search_finds_every_node_of_ours_by_erase(graph_page: GraphPage):
    graph_page.new_graph()
    ours = [info["display_name"] for info in our_nodes(graph_page).values()]
    found = graph_page.search("erase")
    assert len(ours) == 12
    assert set(ours) <= set(found)
    assert found.index("Sigmas for Erasing") > max(found.index("Erase (YOEO)"), found.index("Erase (EraDiff)"))


def test_search_finds_an_eraser_first_by_what_others_call_it(graph_page: GraphPage):
    """This page looks for words in titles alone, and only near their beginning."""
    graph_page.new_graph()
    assert {words: graph_page.search(words)[0] for words in CALLED} == CALLED


def test_search_for_inpaint_finds_an_eraser_after_cores_own_nodes(graph_page: GraphPage):
    graph_page.new_graph()
    assert "Magic Eraser (retouch, inpaint)" in graph_page.search("inpaint")


def test_search_finds_the_erasers_in_the_category_of_inpainting(graph_page: GraphPage):
    graph_page.new_graph()
    found = graph_page.search("", category="inpaint/erase")
    assert {"Erase (YOEO)", "Erase (EraDiff)"} <= set(found)


REFUSES = {
    "erase_eradiff": "EraseOnceEraDiff",
    "erase_check_retry": "EraseOnceSundryCheck",
    "many_objects": "EraseOnceSnapMask",
}


def test_an_error_shows_on_its_node(graph_page: GraphPage):
    graph_page.open_template("erase_yoeo")
    load, erase = graph_page.node("EraseOnceLoadModel"), graph_page.node("EraseOnceYOEO")
    erase.switch_on("until_clean")
    assert graph_page.run()["status"]["status_str"] == "error"
    shows_error(graph_page, "until_clean needs a detector that says when it is clean, got none")
    assert erase.has_error() and not load.has_error()


@pytest.mark.parametrize("name", REFUSES)
def test_a_mask_of_another_shape_is_refused_on_its_node(graph_page: GraphPage, name: str):
    graph_page.open_template(name)
    refuses, square = graph_page.node(REFUSES[name]), graph_page.add("SolidMask")
    graph_page.connect(square, 0, refuses, "mask")
    assert graph_page.run()["status"]["status_str"] == "error"
    shows_error(graph_page, "mask must have the picture's size or aspect ratio")
    assert refuses.has_error()


def shows_error(graph_page: GraphPage, words: str) -> None:
    """Waits for the page to say what went wrong, and closes what says it."""
    graph_page.page.get_by_text(words).first.wait_for()
    graph_page.page.keyboard.press("Escape")
    graph_page.dialog.wait_for(state="hidden")


def test_help_opens_for_every_node(graph_page: GraphPage):
    graph_page.new_graph()
    for name in our_nodes(graph_page):
        node = graph_page.add(name)
        node.select().get_by_test_id("info-button").click()
        shown = graph_page.page.locator(".node-help-content")
        shown.get_by_text(first_sentence(name)).wait_for()
        graph_page.screenshot(f"help_{name}")
        node.delete()


def our_nodes(graph_page: GraphPage) -> dict[str, dict]:
    """What the server says of each of the pack's nodes."""
    known = graph_page.get("/object_info").json()
    return {name: info for name, info in known.items() if name.startswith("EraseOnce")}


def first_sentence(name: str) -> str:
    """What a node's help page begins with, under its heading."""
    return (HELP / f"{name}.md").read_text().splitlines()[2]
