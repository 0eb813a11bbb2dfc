"""Load Erase Model under the dynamic memory management of newer ComfyUIs, which is on only beside a GPU.

What it asks of a loader is asked here of ours, on any ComfyUI.
"""

import importlib.util

import pytest
import torch
from in_comfyui import comfy, nodes

pytestmark = pytest.mark.usefixtures("in_comfyui")


@pytest.fixture
def dynamic(monkeypatch) -> type:
    """The class that ComfyUI puts in the place of its own when it manages memory dynamically."""
    patchers = comfy("comfy.model_patcher")
    swapped_in = type("Dynamic", (patchers.ModelPatcher,), {})
    monkeypatch.setattr(patchers, "CoreModelPatcher", swapped_in, raising=False)
    return swapped_in


def load_nano() -> tuple:
    loader = nodes()["EraseOnceLoadModel"]
    chosen = {widget.id: widget.default for widget in loader.define_schema().inputs}
    return loader.execute(**chosen).result


def test_comfyui_can_load_a_model_again_as_torch_compile_and_hooks_ask_it_to(dynamic: type):
    model, _, _ = load_nano()
    assert type(model) is dynamic
    load, named, place = model.cached_patcher_init
    again = load(*named, disable_dynamic=True)[place]
    assert type(again) is comfy("comfy.model_patcher").ModelPatcher
    assert again.model is not model.model
    weights, others = model.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(others[name], weight) for name, weight in weights.items())
    assert again.get_attachment("erase_once") == model.get_attachment("erase_once")
    shown = [patcher.get_model_object("latent_format").latent_rgb_factors for patcher in (model, again)]
    assert shown[0] == shown[1]


def test_comfyuis_own_clone_makes_the_second_copy():
    model, _, _ = load_nano()
    if not hasattr(comfy("comfy.model_patcher").ModelPatcher, "deepclone_multigpu"):
        pytest.skip("this ComfyUI makes no second copies")
    again = model.clone(force_deepcopy=True)
    assert again.model is not model.model


def test_every_weight_has_the_models_dtype_whatever_the_file_has(monkeypatch):
    """The nano's file is of half precision, and a CPU works in single."""
    if importlib.util.find_spec("comfy.memory_management") is None:
        pytest.skip("this ComfyUI does not manage memory dynamically")
    monkeypatch.setattr(comfy("comfy.memory_management"), "aimdo_enabled", True)
    network = load_nano()[0].model
    assert {weight.dtype for weight in network.diffusion_model.parameters()} == {network.get_dtype()}
