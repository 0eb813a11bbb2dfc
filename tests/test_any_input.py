"""Whatever picture and mask come: the right result or one clear sentence, by both erasers and every other node."""

import re

import pytest
import torch
from any_input import Case, cases
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


@pytest.fixture(scope="module")
def ways(in_comfyui) -> dict:
    """Each eraser as a script and as a graph calls it: IMAGE and MASK in, IMAGE and the changed MASK out."""
    checkpoint = tiny_checkpoint(tiny_config(UNET, TINY))
    engine, build = DiffusersEngine.of(checkpoint), room("model")
    loaded = build.build_model(checkpoint), build.build_vae(checkpoint)
    loaded += (room("boundary").conditioning_from(checkpoint.empty_prompt),)

    def by_pipeline(method):
        def erase(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            erased = method.erase(engine, image.movedim(-1, 1), mask, steps=1, grow_px=GROW, resolution=64)
            return erased.image.movedim(1, -1), erased.changed[:, 0]

        return erase

    def by_node(name: str, **settings):
        def erase(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            settled = {"steps": 1, "seed": 0, "grow": GROW, "context": 0.5, "resolution": 64, **settings}
            return nodes()[name].execute(*loaded, image, mask, **settled).result[:2]

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
