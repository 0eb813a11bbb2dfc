"""The pack inside a ComfyUI of this process, for the tests that call nodes and their engine directly."""

import asyncio
import importlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent


def load_pack(comfyui: Path) -> None:
    """Imports the pack under its path, as ComfyUI does."""
    if str(ROOT) in sys.modules:
        return
    sys.path.insert(0, str(comfyui))  # before our own folder: ComfyUI owns the name "nodes"
    comfy("comfy.cli_args").args.cpu = True
    spec = spec_from_file_location(str(ROOT), ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    sys.modules[str(ROOT)] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[str(ROOT)])


def comfy(name: str) -> ModuleType:
    """A module of ComfyUI."""
    return importlib.import_module(name)


def nodes() -> dict[str, type]:
    """The pack's node classes by their name."""
    extension = asyncio.run(sys.modules[str(ROOT)].comfy_entrypoint())
    return {node.__name__: node for node in asyncio.run(extension.get_node_list())}


def room(name: str) -> ModuleType:
    """A module of nodes/."""
    return sys.modules[f"{ROOT}.nodes.{name}"]
