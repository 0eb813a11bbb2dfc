"""Whatever picture and mask come: the right result or one clear sentence, by both erasers and every other node."""

import re
from collections.abc import Callable

import pytest
import torch
from any_input import AXES, EMPTY, KIND, MASK_KIND, SHAPE, Case, cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_comfyui import nodes, room
from tiny import TINY, UNET, tiny_checkpoint, tiny_config, tiny_detector
from torch import Tensor

from eradiff_core import pipeline as eradiff
from inpainting_core.engine import DiffusersEngine
from inpainting_core.masks import as_mask, grow
from yoeo_core import pipeline as yoeo

GROW = 3
ALL_HOLE = "mask must leave some of the picture to look at, got one that covers all of it."
NO_SURROUNDINGS = "mask must leave some surroundings in view: raise context or lower grow."  # of a crop of 64 px
COUNTS = pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.full)])

pytestmark = pytest.mark.usefixtures("in_comfyui")


SETTINGS = {"steps": 1, "seed": 0, "grow": GROW, "context": 0.5, "resolution": 64}


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_checkpoint(tiny_config(UNET, TINY))


@pytest.fixture(scope="module")
def loaded(in_comfyui, checkpoint) -> tuple:
    """MODEL, VAE and CONDITIONING."""
    build = room("model")
    conditioning = room("boundary").conditioning_from(checkpoint.empty_prompt)
    return build.build_model(checkpoint), build.build_vae(checkpoint), conditioning


@pytest.fixture(scope="module")
def ways(loaded, checkpoint) -> dict:
    """Each eraser as a script and as a graph calls it: IMAGE and MASK in, IMAGE and the changed MASK out."""
    engine = DiffusersEngine.of(checkpoint)

    def by_pipeline(method):
        def erase(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            erased = method.erase(engine, image.movedim(-1, 1), mask, steps=1, grow_px=GROW, resolution=64)
            return erased.image.movedim(1, -1), erased.changed[:, 0]

        return erase

    def by_node(name: str, **settings):
        def erase(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            return nodes()[name].execute(*loaded, image, mask, **SETTINGS, **settings).result[:2]

        return erase

    return {
        "yoeo": by_pipeline(yoeo),
        "eradiff": by_pipeline(eradiff),
        "EraseOnceYOEO": by_node("EraseOnceYOEO"),
        "EraseOnceEraDiff": by_node("EraseOnceEraDiff", strength=1.0, attention="rectified"),
    }


@COUNTS
def test_an_eraser_changes_nothing_but_the_ring_or_says_why_not(ways, count: int):
    @settings(max_examples=count, deadline=None, derandomize=count < 100, suppress_health_check=[HealthCheck.too_slow])
    @given(cases(), st.sampled_from(sorted(ways)))
    def check(case: Case, way: str):
        try:
            image, changed = ways[way](case.image, case.mask)
        except ValueError as error:
            require_one_sentence(case, str(error))
        else:
            assert not case.broken
            require_erased(case, image, changed)

    check()


def require_one_sentence(case: Case, said: str) -> None:
    if case.broken:
        assert said.startswith(case.broken)
    elif not said == NO_SURROUNDINGS:
        assert said.startswith(ALL_HOLE) and hole_of(case).flatten(1).all(1).any()
    assert re.fullmatch(r"[^\n]{20,300}\.", said)


def hole_of(case: Case) -> Tensor:
    return as_mask(case.mask, *case.image.shape[1:3], frames=len(case.image))


def require_erased(case: Case, image: Tensor, changed: Tensor) -> None:
    assert image.shape == case.image.shape and image.dtype == case.image.dtype and image.isfinite().all()
    assert torch.equal(image[changed == 0], case.image[changed == 0])
    assert torch.equal(image[..., 3:], case.image[..., 3:])
    hole, ring = hole_of(case), GROW * max(1, max(image.shape[1:3]) / 512)  # wider in a crop that is reduced
    assert bool((changed >= hole[:, 0]).all()) and bool((changed <= grow(hole, ring)[:, 0]).all())
    if 0 <= case.image.min() and case.image.max() <= 1:
        assert 0 <= image.min() and image.max() <= 1


@pytest.fixture(scope="module")
def detector(in_comfyui):
    return room("detector").managed(tiny_detector())


@COUNTS
def test_the_other_nodes_do_their_work_or_say_why_not(detector, count: int):
    crop, stitch, look, snap = (
        nodes()[f"EraseOnce{name}"].execute for name in ("Crop", "Stitch", "SundryCheck", "SnapMask")
    )

    def cropped(case: Case) -> None:
        window, hole, info = crop(case.image, case.mask, GROW, 0.5, 64).result
        assert window.isfinite().all() and hole.shape[1:] == window.shape[1:3]
        (back,) = stitch(info, 1 - window).result
        blend = info.blend[:, 0].expand(len(back), -1, -1)
        require_erased(case, back, (blend > 0).to(blend))

    def checked(case: Case) -> None:
        passed, number, area, sundries, overlay, said = look(case.image, case.mask, detector, "loss", 0.9, 0.2).result
        assert len(passed) == len(case.image) and overlay.shape == (*case.image.shape[:3], 3)
        assert all(0 <= share <= 1 for share in area) and overlay.isfinite().all() and sundries.isfinite().all()

    def snapped(case: Case) -> None:
        mask, said = snap(case.image, case.mask, detector, 0).result
        assert mask.shape[-2:] == case.image.shape[1:3] and set(mask.unique().tolist()) <= {0, 1}

    @settings(max_examples=count, deadline=None, derandomize=count < 100, suppress_health_check=[HealthCheck.too_slow])
    @given(cases(), st.sampled_from([cropped, checked, snapped]))
    def check(case: Case, work):
        try:
            work(case)
        except ValueError as error:
            said = str(error)
            nothing_to_crop = work is cropped and said.endswith("nothing to crop around. Paint over something first.")
            assert said.startswith(case.broken) if case.broken else nothing_to_crop
        else:
            assert not case.broken

    check()


# what no node takes

SWITCHES = ({}, {"effects": True}, {"official": True})  # the last is YOEO's alone
IMAGE, MASK = torch.full((1, 64, 64, 3), 0.5), torch.zeros(1, 64, 64)
MASK[:, 20:40, 20:40] = 1
KINDS = (torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64, torch.uint16)
NO_PICTURE = [(IMAGE.to(kind), KIND) for kind in KINDS]
NO_PICTURE += [(IMAGE[0], AXES), (IMAGE[None], AXES), (IMAGE[0, 0, 0], AXES), (torch.ones(()), AXES)]
NO_PICTURE += [(IMAGE[:0], EMPTY), (IMAGE[:, :0], EMPTY)]
NO_MASK = [(MASK.to(kind), MASK_KIND) for kind in KINDS]
NO_MASK += [(shape, SHAPE) for shape in (MASK[0, 0], torch.ones(()), MASK[None, None], MASK[:0], MASK[:, :0])]


def kind_and_shape(given: Tensor | str) -> str:
    return given[:5] if isinstance(given, str) else f"{given.dtype} {list(given.shape)}"


@pytest.fixture(scope="module")
def takers(loaded, detector) -> dict[str, list[Callable]]:
    """Every node that takes an IMAGE and a MASK, an IMAGE alone, or a MASK alone, called with no more than that."""
    node = {name.removeprefix("EraseOnce"): kind.execute for name, kind in nodes().items()}
    *_, window = node["Crop"](IMAGE, MASK, GROW, 0.5, 64).result
    eradiff_s = {**SETTINGS, "strength": 1.0, "attention": "rectified"}
    return {
        "both": [
            *(lambda i, m, own=own: node["YOEO"](*loaded, i, m, **SETTINGS, **own) for own in SWITCHES),
            *(lambda i, m, own=own: node["EraDiff"](*loaded, i, m, **eradiff_s, **own) for own in SWITCHES[:2]),
            lambda i, m: node["SundryCheck"](i, m, detector, "loss", 0.9, 0.2),
            lambda i, m: node["SnapMask"](i, m, detector, 0),
            lambda i, m: node["GrowToEffects"](i, m),
            lambda i, m: node["Crop"](i, m, GROW, 0.5, 64),
        ],
        "image": [lambda i: node["Stitch"](window, i)],
        "mask": [lambda m: node["SRA"](loaded[0], m, "rectified", "all", 0.0, 1.0)],
    }


@pytest.mark.parametrize(("image", "said"), NO_PICTURE, ids=kind_and_shape)
def test_what_is_no_picture_is_refused_by_every_node(takers: dict, image: Tensor, said: str):
    for call in [*(lambda i, both=both: both(i, MASK) for both in takers["both"]), *takers["image"]]:
        require_refused(call, image, said)


@pytest.mark.parametrize(("mask", "said"), NO_MASK, ids=kind_and_shape)
def test_what_is_no_mask_is_refused_by_every_node(takers: dict, mask: Tensor, said: str):
    for call in [*(lambda m, both=both: both(IMAGE, m) for both in takers["both"]), *takers["mask"]]:
        require_refused(call, mask, said)


def require_refused(call: Callable, given: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        call(given)
    assert re.fullmatch(r"[^\n]{20,200}\.", str(error.value))
