"""Shadows that go with their objects: the node that grows a mask to them, and the switch of both erasers."""

import pytest
import torch
from in_comfyui import nodes, room
from tiny import TINY, UNET_LIKE_SD15, tiny_checkpoint, tiny_config

from inpainting_core.effects import add_effects

SETTINGS = {"seed": 1, "grow": 3, "context": 0.5, "resolution": 0, "steps": 2}
ERASERS = {"EraseOnceYOEO": {}, "EraseOnceEraDiff": {"strength": 1.0, "attention": "rectified"}}
NOTHING = "No shadow was found: the mask is unchanged."

pytestmark = pytest.mark.usefixtures("in_comfyui")
every_eraser = pytest.mark.parametrize("node", ERASERS)


@pytest.fixture(scope="module")
def loaded(in_comfyui) -> dict:
    checkpoint = tiny_checkpoint(tiny_config(UNET_LIKE_SD15, TINY))
    build = room("model")
    prompt = room("boundary").conditioning_from(checkpoint.empty_prompt)
    return {"model": build.build_model(checkpoint), "vae": build.build_vae(checkpoint), "conditioning": prompt}


def shadowed(depth: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """IMAGE and MASK of a red disc on a grey ground, and its shadow, 14 px wide, which takes so much of the light."""
    y, x = torch.meshgrid(torch.arange(120.0), torch.arange(150.0), indexing="ij")
    away = ((y - 60).square() + (x - 66).square()).sqrt() - 22
    disc, shade = (away <= 0).float(), (1 - away / 14).clamp(0, 1)
    ground = (0.55 * (1 - depth * shade))[..., None].expand(-1, -1, 3)
    image = disc[..., None] * torch.tensor([0.8, 0.2, 0.2]) + (1 - disc[..., None]) * ground
    return image[None], disc[None], ((shade > 0).float() * (1 - disc))[None]


def grown(image: torch.Tensor, mask: torch.Tensor):
    return nodes()["EraseOnceGrowToEffects"].execute(image=image, mask=mask)


def erase(node: str, loaded: dict, image: torch.Tensor, mask: torch.Tensor, **settings):
    return nodes()[node].execute(**loaded, image=image, mask=mask, **{**SETTINGS, **ERASERS[node], **settings})


def test_the_mask_takes_in_the_shadow():
    image, mask, shade = shadowed(0.4)
    more, effects, report = grown(image, mask).result
    assert more.shape == effects.shape == mask.shape
    assert torch.equal(more, mask + effects) and not (mask * effects).any()
    assert (effects * shade).sum() / torch.maximum(effects, shade).sum() > 0.7
    share = float(effects.sum() / mask.sum())
    assert report == f"A shadow of {share:.0%} of the mask's area was found and added."


def test_it_gives_what_the_core_gives_and_shows_what_it_says():
    image, mask, _ = shadowed(0.4)
    answer, found = grown(image, mask), add_effects(image.movedim(-1, 1), mask)
    assert torch.equal(answer[0], found.masks[0]) and torch.equal(answer[1], found.effect[:, 0])
    assert answer.ui.as_dict() == {"text": (answer[2],)}


def test_where_nothing_is_found_the_mask_is_unchanged_and_it_says_so():
    mask = shadowed(0)[1]
    flat = torch.full((1, 120, 150, 3), 0.6)  # object and ground alike: there is nothing to see
    more, effects, report = grown(flat, mask).result
    assert torch.equal(more, mask) and not effects.any() and report == NOTHING


def test_an_empty_mask_stays_empty_and_it_says_so():
    for empty, said in ((torch.zeros(1, 64, 64), "The mask is empty"), (torch.full((1, 120, 150), 0.3), "No part of")):
        more, effects, report = grown(shadowed(0.4)[0], empty).result
        assert not more.any() and not effects.any()
        assert report.startswith(said) and report.endswith(": nothing to grow, so it stays empty.")


def test_every_picture_of_a_batch_has_its_own_sentence():
    images = torch.cat([shadowed(0.4)[0], torch.full((1, 120, 150, 3), 0.6)])
    more, effects, report = grown(images, shadowed(0)[1]).result
    assert more.shape == effects.shape == (2, 120, 150) and effects[0].any() and not effects[1].any()
    assert report.startswith("Picture 1: A shadow of ") and report.endswith(f"Picture 2: {NOTHING}")


@every_eraser
def test_the_switch_grows_the_mask_and_gives_what_was_added(node: str, loaded: dict):
    image, mask, _ = shadowed(0.4)
    erased, changed, _, report, effects = erase(node, loaded, image, mask, effects=True).result
    _, expected, said = grown(image, mask).result
    assert torch.equal(effects, expected) and effects.any()
    assert bool((changed >= mask + effects).all())
    assert torch.equal(erased[changed == 0], image[changed == 0])
    assert not torch.equal(erased[effects == 1], image[effects == 1])
    assert report.startswith(f"{said} Erased 1 object: ")


@every_eraser
def test_the_switch_is_off_by_default_and_then_nothing_is_looked_for(node: str, loaded: dict):
    image, mask, _ = shadowed(0.4)
    plain, off = (erase(node, loaded, image, mask, **more).result for more in ({}, {"effects": False}))
    assert torch.equal(plain[0], off[0]) and torch.equal(plain[1], off[1])
    assert plain[4].shape == mask.shape and not plain[4].any() and plain[3].startswith("Erased 1 object: ")


@every_eraser
def test_with_an_empty_mask_the_switch_says_no_more_than_the_eraser(node: str, loaded: dict):
    image = shadowed(0.4)[0]
    answer = erase(node, loaded, image, torch.full((1, 120, 150), 0.3), effects=True)
    assert torch.equal(answer[0], image) and not answer[4].any()
    assert answer[3].startswith("No part of the mask reaches 1/2 (its highest is 0.30): nothing to erase")


@every_eraser
def test_its_output_comes_after_those_that_stored_graphs_link_to(node: str):
    names = [output.display_name for output in nodes()[node].GET_SCHEMA().outputs]
    assert names == ["image", "changed", "candidates", "report", "effects"]
