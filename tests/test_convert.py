"""From a saved graph to a prompt, on small graphs and a hand-written /object_info."""

import re

import pytest

from workflows.convert import fill_in, take_picture, to_prompt

INFO = {
    "Load": {
        "input": {"required": {"image": [["a.png"], {"image_upload": True}]}},
        "input_order": {"required": ["image"]},
    },
    "Sample": {
        "input": {
            "required": {
                "image": ["IMAGE", {}],
                "seed": ["INT", {"default": 0, "control_after_generate": True}],
                "steps": ["INT", {"default": 2}],
                "mode": ["COMBO", {"options": ["x", "y"], "default": "x"}],
            },
            "optional": {"amount": ["FLOAT", {"forceInput": True}], "added_later": ["BOOLEAN", {"default": True}]},
        },
        "input_order": {"required": ["image", "seed", "steps", "mode"], "optional": ["amount", "added_later"]},
    },
}


def graph(*nodes: dict, links: tuple = ()) -> dict:
    return {"nodes": list(nodes), "links": list(links)}


def load(**changes) -> dict:
    return {"id": 1, "type": "Load", "widgets_values": ["a.png", "image"], **changes}


def sample(link: int | None = None, **changes) -> dict:
    inputs = [{"name": "image", "link": link}]
    return {"id": 2, "type": "Sample", "inputs": inputs, "widgets_values": [7, "randomize", 3, "y"], **changes}


def test_widgets_are_named_and_links_followed():
    prompt = to_prompt(graph(load(), sample(5), links=([5, 1, 0, 2, 0, "IMAGE"],)), INFO)
    assert prompt["1"] == {"class_type": "Load", "inputs": {"image": "a.png"}, "_meta": {"title": "Load"}}
    assert prompt["2"]["inputs"] == {"seed": 7, "steps": 3, "mode": "y", "added_later": True, "image": ["1", 0]}


def test_a_linked_widget_keeps_its_place_among_the_values():
    node = sample(5)
    node["inputs"].append({"name": "steps", "link": 6, "widget": {"name": "steps"}})
    links = ([5, 1, 0, 2, 0, "IMAGE"], [6, 1, 1, 2, 1, "INT"])
    inputs = to_prompt(graph(load(), node, links=links), INFO)["2"]["inputs"]
    assert (inputs["seed"], inputs["steps"], inputs["mode"]) == (7, ["1", 1], "y")


def test_notes_are_left_out_and_reroutes_passed_through():
    reroute = {"id": 3, "type": "Reroute", "inputs": [{"name": "", "link": 5}]}
    note = {"id": 4, "type": "MarkdownNote", "widgets_values": ["words"]}
    links = ([5, 1, 0, 3, 0, "IMAGE"], [6, 3, 0, 2, 0, "IMAGE"])
    prompt = to_prompt(graph(load(), reroute, note, sample(6), links=links), INFO)
    assert prompt.keys() == {"1", "2"}
    assert prompt["2"]["inputs"]["image"] == ["1", 0]


def test_a_muted_node_is_left_out_unless_it_is_needed():
    assert to_prompt(graph(load(mode=2)), INFO) == {}
    with pytest.raises(ValueError, match=re.escape("no active node must be fed by a muted one, got Load (node 1).")):
        to_prompt(graph(load(mode=2), sample(6), links=([6, 1, 0, 2, 0, "IMAGE"],)), INFO)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (load(mode=4), "every node must be active or muted, got Load (node 1) bypassed."),
        (load(type="Strange"), "every node type must be known to the server, got Strange (node 1)."),
        (load(widgets_values=[]), "Load (node 1) must hold a value for image, got none."),
        (sample(widgets_values=[7, "fixed", 3, "y", True, 9]), "Sample (node 2) must hold one value a widget, got [9]"),
    ],
)
def test_what_cannot_run_is_refused(node: dict, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        to_prompt(graph(node), INFO)


def test_fill_in_sets_what_is_there_and_refuses_the_rest():
    prompt = to_prompt(graph(load()), INFO)
    fill_in(prompt, "Load", image="b.png")
    assert prompt["1"]["inputs"]["image"] == "b.png"
    with pytest.raises(ValueError, match=re.escape("got ['Load'].")):
        fill_in(prompt, "Sample", steps=1)
    with pytest.raises(ValueError, match=re.escape("got none named ['size'].")):
        fill_in(prompt, "Load", size=1)


def test_a_picture_takes_the_place_of_the_example_and_keeps_its_links():
    example = {"class_type": "EraseOnceExamplePicture", "inputs": {"picture": "wren"}, "_meta": {"title": "Mine"}}
    prompt = {"1": example, "2": {"class_type": "Sample", "inputs": {"image": ["1", 0]}}}
    take_picture(prompt, "b.png")
    assert prompt["1"] == {"class_type": "LoadImage", "inputs": {"image": "b.png"}, "_meta": {"title": "Mine"}}
    assert prompt["2"]["inputs"] == {"image": ["1", 0]}
    with pytest.raises(ValueError, match=re.escape("got ['LoadImage', 'Sample'].")):
        take_picture(prompt, "c.png")
