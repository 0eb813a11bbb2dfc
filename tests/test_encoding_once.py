"""How often the networks are called: nothing is encoded or moved twice, and a run with another seed encodes nothing."""

import pytest
import torch
from in_comfyui import nodes, room
from test_mid_run import IMAGE, MASK, SETTINGS, before_calls, forget, given, networks  # noqa: F401

from yoeo_core import pipeline as yoeo

pytestmark = pytest.mark.usefixtures("in_comfyui")
ERASERS = {"EraseOnceYOEO": {"steps": 2}, "EraseOnceEraDiff": {"steps": 3, "strength": 1.0, "attention": "rectified"}}
UNETS_STEPS = {"EraseOnceYOEO": 2, "EraseOnceEraDiff": 3}
PICTURES = {"EraseOnceYOEO": 1, "EraseOnceEraDiff": 2}  # that it encodes: the masked one, and the whole one


def calls_of(given: dict, node: str, **settings) -> dict[str, int]:  # noqa: F811
    """How often a run calls each network."""
    own = {name: given[name] for name in ("model", "vae", "conditioning")}
    with (
        before_calls(networks(given)["unet"], lambda *_: None) as unet,
        before_calls(networks(given)["encode"], lambda *_: None) as encode,
        before_calls(networks(given)["decode"], lambda *_: None) as decode,
    ):
        inputs = {"image": IMAGE, "mask": MASK, **SETTINGS, **ERASERS[node], **settings}
        nodes()[node].execute(**own, **inputs)
    return {"unet": len(unet), "encode": sum(encode), "decode": sum(decode)}


@pytest.fixture(autouse=True)
def nothing_is_known(in_comfyui):
    forget()


@pytest.mark.parametrize("node", ERASERS)
def test_each_network_is_called_as_often_as_the_method_asks(given: dict, node: str):  # noqa: F811
    assert calls_of(given, node) == {"unet": UNETS_STEPS[node], "encode": PICTURES[node], "decode": 1}


@pytest.mark.parametrize("node", ERASERS)
def test_another_seed_encodes_nothing_again(given: dict, node: str):  # noqa: F811
    calls_of(given, node)
    assert calls_of(given, node, seed=2) == {"unet": UNETS_STEPS[node], "encode": 0, "decode": 1}


@pytest.mark.parametrize("node", ERASERS)
def test_another_picture_mask_or_autoencoder_is_encoded(given: dict, node: str):  # noqa: F811
    calls_of(given, node)
    assert calls_of(given, node, image=IMAGE.flip(1))["encode"] == PICTURES[node]
    assert calls_of(given, node, mask=MASK.flip(1))["encode"] == PICTURES[node]
    given["vae"].patcher.add_patches({}), given["vae"].patcher.add_patches({})  # another state of its weights
    assert calls_of(given, node)["encode"] == PICTURES[node]


def test_further_tries_of_one_crop_encode_nothing_again(given: dict):  # noqa: F811
    """A judge who finds something in every answer has all tries drawn."""
    engine = room("boundary").ComfyEngine(given["model"], given["vae"], given["conditioning"])
    with (
        before_calls(networks(given)["encode"], lambda *_: None) as encode,
        before_calls(networks(given)["decode"], lambda *_: None) as decode,
    ):
        judge = {"judge": lambda filled, hole: torch.ones(len(filled)), "tries": 3}
        yoeo.erase(engine, IMAGE.movedim(-1, 1), MASK, resolution=64, **judge)
    assert (len(encode), len(decode)) == (1, 3)


def test_no_weight_is_moved_or_cast_between_two_runs(given: dict):  # noqa: F811
    calls_of(given, "EraseOnceYOEO")
    weights = [*given["model"].model.parameters(), *given["vae"].first_stage_model.parameters()]
    before = [weight.data_ptr() for weight in weights]
    calls_of(given, "EraseOnceYOEO", seed=3)
    assert [weight.data_ptr() for weight in weights] == before


def test_only_so_many_latents_are_kept():
    known, kept = room("latents").Latents(), room("latents").KEPT
    for number in range(kept + 3):
        known.of(torch.full((1, 3, 8, 8), float(number)), lambda picture: (picture[:, :1], True))
    assert len(known.kept) == kept
    asked = []
    known.of(torch.full((1, 3, 8, 8), float(kept)), asked.append)
    assert not asked
