"""The models that come with the pack: where graphs, the demo and scripts find the one of their method."""

import csv
import json
from pathlib import Path

import pytest
from in_comfyui import load_pack, nodes, room

from inpainting_core.built_in import BUILT_IN, NANO, NANO_ERADIFF, NANO_OF
from training.erase import parse_args
from training.erasing import eraser

ROOT = Path(__file__).resolve().parent.parent
GRAPHS = {"erase_yoeo": [NANO], "erase_eradiff": [NANO_ERADIFF], "crop_stitch_second_pass": [NANO]}


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graphs_model_is_its_methods_own(graph: str):
    stored = json.loads((ROOT / "workflows" / f"{graph}.json").read_text())["nodes"]
    models = [node["widgets_values"][0] for node in stored if node["type"] == "EraseOnceLoadModel"]
    assert models == GRAPHS[graph] and all(BUILT_IN[model].is_file() for model in models)


def test_load_erase_model_lists_them_first(comfyui: Path):
    load_pack(comfyui)
    offered = nodes()["EraseOnceLoadModel"].INPUT_TYPES()["required"]["model"]
    assert offered[1]["options"][:2] == ["nano (built in)", "nano EraDiff (built in)"]
    assert offered[1]["default"] == "nano (built in)"
    assert {name: room("load").model_path(name) for name in BUILT_IN} == BUILT_IN


@pytest.mark.parametrize("name", NANO_OF)
def test_nano_is_the_methods_own(name: str, monkeypatch: pytest.MonkeyPatch):
    loaded = []
    monkeypatch.setattr(eraser, "load_engine", lambda path, *_: loaded.append(path))
    where = ["--images", "a", "--masks", "b", "--out", "c"]
    eraser.load_eraser(parse_args(["--method", name, "--model", "nano", *where]))
    assert loaded == [BUILT_IN[NANO_OF[name]]]


def test_every_photograph_of_the_detectors_is_credited_and_none_is_share_alike():
    with (ROOT / "assets/nano_photographs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["photograph"] for row in rows}) == len(rows) == 653
    assert all(row["author"] and row["source"] and row["licence_url"].startswith("http") for row in rows)
    free = ("CC0", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "Public domain", "No known copyright", "Released by Eastman")
    assert all(row["licence"].startswith(free) and "/by-sa/" not in row["licence_url"] for row in rows)
