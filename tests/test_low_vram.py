"""ComfyUI's modes for little memory on a card, with the CPU as the card: the pictures are the same.

ComfyUI leaves its modes off on a CPU; here it is told that the CPU is none, and what is free on it.
"""

import pytest
import torch
from in_comfyui import comfy
from test_mid_run import checked, eradiff, given, rectified_sampling, yoeo  # noqa: F401

pytestmark = pytest.mark.usefixtures("in_comfyui")
RUNS = [yoeo, eradiff, rectified_sampling, checked]


def streamed(network: torch.nn.Module) -> list[bool]:
    """Of each layer that ComfyUI can leave outside the card whether it did, and brings its weights at each call."""
    return [layer.comfy_cast_weights for layer in network.modules() if hasattr(layer, "comfy_cast_weights")]


@pytest.fixture
def mode(given, request, monkeypatch) -> str:  # noqa: F811
    management, network = comfy("comfy.model_management"), given["model"].model
    half = management.module_size(network) // 2

    def free(device: torch.device | None = None, torch_free_too: bool = False) -> float | tuple[float, float]:
        left = management.minimum_inference_memory() + half - network.model_loaded_weight_memory
        return (left, left) if torch_free_too else left

    management.unload_all_models()
    monkeypatch.setattr(management, "is_device_cpu", lambda device: False)
    monkeypatch.setattr(management, "vram_state", management.VRAMState[request.param])
    monkeypatch.setattr(management, "get_free_memory", free)
    yield request.param
    management.unload_all_models()


@pytest.fixture(scope="module")
def expected(given) -> dict:  # noqa: F811
    return {run: run(given) for run in RUNS}


@pytest.mark.parametrize("mode", ["NO_VRAM", "LOW_VRAM"], indirect=True)
def test_every_run_gives_the_same_in_the_modes_for_little_memory(expected: dict, mode: str, given):  # noqa: F811
    assert not any(streamed(given["model"].model.diffusion_model))
    for run in RUNS:
        found = run(given)
        assert all(torch.equal(*pair) for pair in zip(found, expected[run], strict=True)), run.__name__
        if run is not checked:
            layers = streamed(given["model"].model.diffusion_model)
            assert all(layers) if mode == "NO_VRAM" else any(layers) and not all(layers)
