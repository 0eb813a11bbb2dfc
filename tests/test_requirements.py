"""What the pack asks of a user's ComfyUI: nothing that is not among ComfyUI's own requirements."""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from subprocess import run

from comfy_cli.registry.config_parser import extract_node_configuration
from test_arrows import COMFY, FILES, LIGHT, ROOT, imports, name_of, tree_of

from workflows.comfyui import requirements

MODULE_OF = {"pillow": "PIL"}  # the packages of ComfyUI's list whose module is called otherwise
# What nodes and cores import besides, in which file: diffusers and the codecs of 16-bit colour are for training and
# for Python without ComfyUI, and jaxtyping for the tests, with a stand-in where it is missing.
NOT_FOR_NODES = {
    "inpainting_core/engine.py": {"diffusers"},
    "inpainting_core/pictures/codecs.py": {"imagecodecs", "tifffile"},
    "inpainting_core/shapes.py": {"jaxtyping"},
}


def names(lines: Iterable[str]) -> set[str]:
    """The packages that requirement lines name."""
    stated = (line.split("#")[0].strip() for line in lines)
    return {re.split(r"[^\w.-]", line)[0].lower() for line in stated if line}


def asked_for() -> list[str]:
    return (ROOT / "requirements.txt").read_text().splitlines()


def comes_with(comfyui: Path) -> set[str]:
    """The modules that ComfyUI's own requirements bring."""
    return {MODULE_OF.get(name, name) for name in names(requirements(comfyui, without=()))}


def foreign(path: Path) -> set[str]:
    """The top-level modules that a file imports, at once or later, less Python's, ours and ComfyUI's."""
    tops = {module.split(".")[0] for module in imports(tree_of(path))}
    return tops - sys.stdlib_module_names - set(LIGHT) - set(COMFY)


def test_installing_the_requirements_changes_nothing():
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-index", "--report", "-"]
    done = run([*pip, "-r", ROOT / "requirements.txt"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["install"] == []


def test_requirements_name_only_what_comfyui_requires_and_never_torch(comfyui: Path):
    allowed = names(requirements(comfyui, without=("torch", "torchvision", "torchaudio")))
    assert names(asked_for()) <= allowed


def test_pyproject_asks_for_what_requirements_ask_for():
    assert names(extract_node_configuration(str(ROOT / "pyproject.toml")).project.dependencies) == names(asked_for())


def test_nodes_and_cores_import_what_comfyui_requires_and_no_more(comfyui: Path):
    files = [path for path in FILES if name_of(path).startswith(tuple(f"{room}/" for room in LIGHT))]
    besides = {name_of(path): foreign(path) - comes_with(comfyui) for path in [*files, ROOT / "__init__.py"]}
    assert {name: modules for name, modules in besides.items() if modules} == NOT_FOR_NODES
