"""The pack as ComfyUI takes it in: what importing it costs, how it names the cores, and what it refuses."""

import json
import os
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from shutil import copytree
from subprocess import run

import pytest
from test_arrows import COMFY, CORES
from test_server import NODES

from benchmarks.start_up import HEAVY
from benchmarks.start_up import load as load_in_comfyui

ROOT = Path(__file__).resolve().parent.parent
LOAD = """
import json, sys, time
from importlib.util import module_from_spec, spec_from_file_location
path = sys.argv[1]
start = time.process_time()  # the processor's time: other programs do not count
spec = spec_from_file_location(path, f"{path}/__init__.py", submodule_search_locations=[path])
sys.modules[path] = module_from_spec(spec)
spec.loader.exec_module(sys.modules[path])
seconds, modules = time.process_time() - start, sorted(sys.modules)
import eradiff_core, inpainting_core, yoeo_core
print(json.dumps({"seconds": seconds, "modules": modules, "core": eradiff_core.__file__}))
"""


def copy_of_the_pack(folder: Path) -> Path:
    """The parts that importing needs, under another path."""
    for room in CORES:
        copytree(ROOT / room, folder / room, ignore=lambda _, names: [n for n in names if n == "__pycache__"])
    (folder / "__init__.py").write_text((ROOT / "__init__.py").read_text())
    return folder


def load(pack: Path):
    """Imports a pack the way ComfyUI does: under its path."""
    spec = spec_from_file_location(str(pack), pack / "__init__.py", submodule_search_locations=[str(pack)])
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_importing_the_pack_is_light_and_registers_the_cores(tmp_path: Path):
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = run([sys.executable, "-c", LOAD, ROOT], cwd=tmp_path, env=bare, capture_output=True, text=True, check=True)
    loaded = json.loads(result.stdout)
    assert loaded["seconds"] < 0.3
    assert Path(loaded["core"]) == ROOT / "eradiff_core" / "__init__.py"
    assert not {"torch", "numpy", "diffusers", "transformers", "nodes"} & set(loaded["modules"])


def test_comfyui_loads_the_nodes_and_they_bring_nothing_but_the_cores(comfyui: Path):
    loaded = load_in_comfyui(comfyui, ROOT, barred=HEAVY)
    assert loaded["loaded"] and set(loaded["nodes"]) == NODES
    ours = str(ROOT).replace(".", "_x_")  # how ComfyUI names a pack's modules
    brought = {name.split(".")[0] for name in loaded["brought"] if not name.startswith(ours)}
    assert brought - sys.stdlib_module_names - set(COMFY) == set(CORES)


def test_the_pack_loads_again_from_the_same_place():
    import eradiff_core

    before = sys.modules["eradiff_core"]
    load(ROOT)
    assert sys.modules["eradiff_core"] is before is eradiff_core


def test_a_second_copy_is_refused_and_both_are_named(tmp_path: Path):
    import inpainting_core

    pack = copy_of_the_pack(tmp_path)
    rule = (
        f"Erase Once must be installed once: inpainting_core of {pack / 'inpainting_core' / '__init__.py'} "
        f"cannot load beside {inpainting_core.__file__}."
    )
    with pytest.raises(ImportError, match=re.escape(rule)):
        load(pack)


def test_extras_are_installed_by_the_scripts():
    from workflows.environment import PINS

    pinned = {re.split(r"[^\w.-]", line)[0] for line in (ROOT / PINS).read_text().splitlines()} - {"", "#"}
    extras = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1].split("\n[")[0]
    assert {re.split(r"[^\w.-]", name)[0] for name in re.findall(r'"([^"]+)"', extras)} == pinned
