"""Memory that ends in a network: smaller batches, then ComfyUI's tiles, then one sentence; the picture is the same."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from in_comfyui import nodes, room
from test_encoding_once import ERASERS
from test_mid_run import (  # noqa: F401
    IMAGE,
    MASK,
    SETTINGS,
    before_calls,
    checked,
    eradiff,
    forget,
    given,
    networks,
    same,
    snapped,
    state,
    yoeo,
)
from torch import Tensor

from inpainting_core.smaller_batches import in_batches_that_fit

pytestmark = pytest.mark.usefixtures("in_comfyui")


def fitting(place: tuple[object, str], fits: Callable[[int, int], bool]) -> AbstractContextManager[list[int]]:
    """A network that takes the batches that fit, by their length and the call's number; the list is all lengths."""

    def look(first: Tensor, call: int) -> None:
        if not fits(len(first), call + 1):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    return before_calls(place, look)


@pytest.mark.parametrize("run", [yoeo, eradiff], ids=lambda run: run.__name__)
def test_candidates_that_do_not_fit_together_are_drawn_alone_and_are_the_same(given, run):  # noqa: F811
    expected, before = run(given), state(given)
    with fitting(networks(given)["unet"], lambda batch, call: batch == 1) as seen:
        found = run(given)
    assert max(seen) == 2 and seen.count(1) >= 4
    assert all(torch.allclose(*pair, atol=1e-4) for pair in zip(found, expected, strict=True))
    assert state(given) == before and same(run(given), expected)


@pytest.mark.parametrize("place", ["encode", "decode"])
@pytest.mark.parametrize("run", [yoeo, eradiff], ids=lambda run: run.__name__)
def test_what_the_autoencoder_cannot_hold_is_worked_on_in_tiles(given, run, place: str):  # noqa: F811
    expected = run(given)
    with fitting(networks(given)[place], lambda batch, call: call > 1) as seen:
        found = run(given)
    assert len(seen) > 2
    assert all(torch.allclose(*pair, atol=1e-3) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize("node", ERASERS)
def test_what_was_encoded_in_tiles_is_encoded_again_once_there_is_memory(given, node: str):  # noqa: F811
    """Another picture of the same run was not: it is known."""
    forget()
    expected = run_again(given, node)
    forget()
    with fitting(networks(given)["encode"], lambda batch, call: call > 1) as seen:
        run_again(given, node)
    assert len(seen) > 2
    for times in (1, 0):
        with before_calls(networks(given)["encode"], lambda *_: None) as calls:
            assert same(run_again(given, node), expected)
        assert len(calls) == times


def run_again(given: dict, node: str) -> list[Tensor]:  # noqa: F811
    """A run that knows what was encoded before it."""
    own = {name: given[name] for name in ("model", "vae", "conditioning")}
    return list(nodes()[node].execute(**own, image=IMAGE, mask=MASK, **SETTINGS, **ERASERS[node])[:3])


@pytest.mark.parametrize(
    ("run", "place"),
    [(run, place) for run in (yoeo, eradiff) for place in ("encode", "unet", "decode", "detector")]
    + [(checked, "detector"), (snapped, "detector")],
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
def test_where_nothing_helps_a_sentence_says_what_to_do(given, run, place: str):  # noqa: F811
    expected, before = run(given), state(given)
    with fitting(networks(given)[place], lambda batch, call: False):
        with pytest.raises(torch.cuda.OutOfMemoryError) as caught:
            run(given)
    assert str(caught.value) == room("memory").NOT_ENOUGH
    assert state(given) == before and same(run(given), expected)


@pytest.mark.parametrize("largest", [1, 2, 3, 7])
def test_every_candidate_is_what_it_would_have_been(largest: int):
    def draw(some: list[torch.Generator], rows: slice) -> Tensor:
        assert [one.initial_seed() for one in some] == list(range(7))[rows]
        drawn = torch.cat([torch.rand(1, 3, 2, 2, generator=one) for one in some])
        if len(some) > largest:
            raise torch.cuda.OutOfMemoryError("too many")
        return drawn

    def generators() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in range(7)]

    alone = torch.cat([torch.rand(1, 3, 2, 2, generator=one) for one in generators()])
    assert torch.equal(in_batches_that_fit(draw, generators()), alone)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="one"):
        in_batches_that_fit(lambda some, rows: (_ for _ in ()).throw(torch.cuda.OutOfMemoryError("one")), generators())
