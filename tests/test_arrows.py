"""The order of imports between the rooms: a list of what each may know, held against every import statement."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORES = ("inpainting_core", "eradiff_core", "yoeo_core")
ROOMS = (*CORES, "nodes", "training", "evaluation", "workflows", "benchmarks", "tests")
COMFY = (
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "folder_paths",
    "latent_preview",
    "node_helpers",
    "server",
)
MAY_KNOW = {
    "inpainting_core": {"inpainting_core"},
    "eradiff_core": {"eradiff_core", "inpainting_core"},
    "yoeo_core": {"yoeo_core", "inpainting_core"},
    "nodes": set(CORES),
    "training": {"training", *CORES},
    "evaluation": {"evaluation", *CORES},
    "workflows": {"workflows", "inpainting_core.picture_files"},
    "benchmarks": {"benchmarks", "training", "evaluation", "workflows", *CORES},
    "tests": set(ROOMS) - {"nodes"},  # ComfyUI owns the name "nodes": ours are reached through the pack
}
INSIDE_TRAINING = {
    "data": {"training.data"},
    "networks": {"training.networks"},
    "running": {"training.running", "training.data"},
    "held_out": {"training.held_out", "training.data"},
    "erasing": {"training.erasing", "training.data"},
}
DIFFUSERS = ("inpainting_core/engine.py", "training/", "tests/", "benchmarks/")
LIGHT = (*CORES, "nodes")  # what a ComfyUI imports when it starts

FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(tree: ast.AST) -> list[str]:
    """Absolute imports anywhere below a syntax node, each as ``module`` or ``module.name``."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def at_module_level(tree: ast.Module) -> list[str]:
    """The absolute imports that run when the module is imported: all but those in functions and for type checkers."""
    inside = [name for node in ast.walk(tree) if is_not_run(node) for name in imports(node)]
    everything = imports(tree)
    for name in inside:
        if name in everything:
            everything.remove(name)
    return everything


def is_not_run(node: ast.AST) -> bool:
    checked_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return checked_only or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def within(module: str, packages: set[str] | tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_imports_only_what_its_room_may_know(path: Path):
    tree, room = tree_of(path), path.relative_to(ROOT).parts[0]
    for module in imports(tree):
        if within(module, ROOMS):
            assert within(module, MAY_KNOW[room]), f"{room} must not import {module}"
        if within(module, COMFY):
            assert room == "nodes", f"only nodes may import {module}"
        if within(module, ("diffusers",)):
            assert name_of(path).startswith(DIFFUSERS), f"only {DIFFUSERS} may import {module}"
    if room == "training" and path.parent.name in INSIDE_TRAINING:
        known = INSIDE_TRAINING[path.parent.name]
        assert all(within(module, known) for module in imports(tree) if within(module, ("training",)))
    if room in LIGHT:
        assert not any(within(module, ("transformers",)) for module in at_module_level(tree))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_relative_imports_stay_inside_their_package(path: Path):
    depth = len(path.relative_to(ROOT).parts) - 1
    levels = [node.level for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom)]
    assert all(level <= depth for level in levels), "a relative import that climbs out works in ComfyUI only"


def test_scripts_named_test_live_in_tests_only():
    named_so = [path for path in FILES if path.name.startswith("test_") and ROOT / "tests" not in path.parents]
    assert {name_of(path) for path in named_so} <= {"evaluation/test_sets.py"}  # it makes sets to test erasers on


@pytest.mark.parametrize(
    ("source", "module_level"),
    [
        ("import transformers", ["transformers"]),
        ("def f():\n    import transformers", []),
        ("if TYPE_CHECKING:\n    import transformers", []),
        ("if True:\n    from transformers import AutoModel", ["transformers.AutoModel"]),
        ("import torch\ndef f():\n    import torch", ["torch"]),
    ],
)
def test_imports_inside_functions_are_told_apart(source: str, module_level: list[str]):
    assert at_module_level(ast.parse(source)) == module_level
