"""What several test files share: a real ComfyUI with this pack in it, started once a session."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from in_comfyui import comfy, load_pack, nodes

from workflows.comfyui import Server, lay_out, serving
from workflows.describe import ask

pytest_plugins = ("checkpoint_files", "training_files")  # fixtures of the files about checkpoints and trainings
ROOT = Path(__file__).resolve().parent.parent

# A process's first backward pass counts its devices, once and for all.  Were it made after a test that pretends a card,
# threads would be started for that card, and no process forked from here could walk back.
torch.ones((), requires_grad=True).backward()


@pytest.fixture(scope="session")
def comfyui() -> Path:
    """The folder of a ComfyUI: yours by COMFYUI_PATH, else the one that ./test fetches."""
    folder = Path(os.environ.get("COMFYUI_PATH", ROOT / ".comfyui"))
    if not (folder / "main.py").exists():
        raise FileNotFoundError(f"the tests need a ComfyUI, got none in {folder}: run ./test, which fetches it.")
    return folder


@pytest.fixture(scope="session")
def server(comfyui: Path) -> Iterator[Server]:
    """A running ComfyUI on the CPU, in a folder of its own."""
    with TemporaryDirectory(prefix="erase-once-tests-") as folder:
        base = lay_out(Path(folder), ROOT)
        with serving(comfyui, Path(sys.executable), base, "--cpu", "--preview-method", "latent2rgb") as running:
            yield running


@pytest.fixture(scope="module")
def in_comfyui(comfyui: Path) -> Iterator[None]:
    """The pack loaded in this process, and the mode in which ComfyUI calls nodes."""
    load_pack(comfyui)
    nodes()
    with torch.inference_mode():
        yield


@pytest.fixture
def models(in_comfyui: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty folders in the place of ComfyUI's, whose own lists of files wait until the test is over."""
    folders = comfy("folder_paths")
    for name in ("checkpoints", "diffusion_models", "diffusers", "detection"):
        (tmp_path / "models" / name).mkdir(parents=True)
        found = [str(tmp_path / "models" / name)], {".safetensors", ".ckpt", ".pth"}
        monkeypatch.setitem(folders.folder_names_and_paths, name, found)
    monkeypatch.setattr(folders, "filename_list_cache", {})
    return tmp_path / "models"


@pytest.fixture(scope="session")
def object_info(server: Server) -> dict:
    """Every node type that the server knows, by its id."""
    return ask(server.address)
