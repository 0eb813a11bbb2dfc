"""Erase Once, a ComfyUI node pack: objects removed from pictures by EraDiff and YOEO.

ComfyUI imports this file under its path, and the pack's folder is not on ``sys.path``. The three cores are therefore
registered here under their own names, so that nodes, training scripts and tests all write ``from yoeo_core...`` and
get one and the same module.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def register_core(name: str) -> None:
    """Makes the folder ``name`` beside this file importable as the package ``name``.

    Raises ImportError where a package of that name from another place is already loaded.
    """
    path = Path(__file__).resolve().parent / name / "__init__.py"
    if name in sys.modules:
        loaded = Path(sys.modules[name].__file__).resolve()
        if loaded != path:
            raise ImportError(f"Erase Once must be installed once: {name} of {path} cannot load beside {loaded}.")
        return
    spec = spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
    sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


WEB_DIRECTORY = "web"  # the help pages; ComfyUI serves them under this folder's name

for core in ("inpainting_core", "eradiff_core", "yoeo_core"):
    register_core(core)


async def comfy_entrypoint():
    """The pack's nodes, for ComfyUI; imported only when it asks."""
    from .nodes import EraseOnceExtension

    return EraseOnceExtension()
