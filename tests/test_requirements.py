"""What the pack asks of a user's ComfyUI: nothing that is not among ComfyUI's own requirements."""

import ast
import json
import re
import sys
from collections.abc import Iterable
from importlib.metadata import metadata
from pathlib import Path
from subprocess import run

from comfy_cli.registry.config_parser import extract_node_configuration
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from test_arrows import COMFY, FILES, LIGHT, ROOT, imports, name_of, tree_of

from workflows.comfyui import requirements
from workflows.environment import PINS

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


def oldest_python() -> tuple[int, int]:
    asked = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    return 3, int(asked[1])


def test_every_pin_can_be_had_for_the_oldest_python():
    """By what the installed packages say of themselves: pip refuses the whole list for a single one that cannot."""
    lines = [line.split("#")[0].strip() for line in (ROOT / PINS).read_text().splitlines()]
    pins, python = [Requirement(line) for line in lines if line], "{}.{}".format(*oldest_python())
    taken = [pin for pin in pins if pin.marker is None or pin.marker.evaluate({"python_version": python})]
    assert {pin.name for pin in taken} == {pin.name for pin in pins}
    exact = [pin.name for pin in taken if str(pin.specifier).startswith("==") and pin.marker is None]
    needed = {name: metadata(name).get("Requires-Python", "") for name in exact}
    assert {name: asked for name, asked in needed.items() if not SpecifierSet(asked).contains(f"{python}.13")} == {}


def test_the_oldest_python_can_read_every_file():
    for path in FILES:
        ast.parse(path.read_text(), filename=str(path), feature_version=oldest_python())
