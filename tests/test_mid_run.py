"""Cancelled or failed anywhere, or run 200 times: what a run was given is as it was, and nothing grows."""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch
from in_comfyui import comfy, nodes, room
from psutil import Process
from tiny import TINY, UNET, tiny_checkpoint, tiny_config, tiny_detector
from torch import Tensor

pytestmark = pytest.mark.usefixtures("in_comfyui")
SETTINGS = {"seed": 1, "grow": 3, "context": 0.5, "resolution": 64}
IMAGE = torch.rand(1, 70, 90, 3, generator=torch.Generator().manual_seed(7))
TWO = torch.cat([IMAGE, IMAGE.flip(1)])  # a detector looks at one after the other
MASK = torch.zeros(1, 70, 90)
MASK[:, 20:40, 30:50] = 1


class Broken(RuntimeError):
    """What a network raises in these tests."""


@pytest.fixture(scope="module")
def given(in_comfyui) -> dict:
    build, checkpoint = room("model"), tiny_checkpoint(tiny_config(UNET, TINY))
    return {
        "model": build.build_model(checkpoint),
        "vae": build.build_vae(checkpoint),
        "conditioning": room("boundary").conditioning_from(checkpoint.empty_prompt),
        "detector": room("detector").managed(tiny_detector()),
    }


def forget() -> None:
    """What pictures were encoded to, so that a run calls every network."""
    room("latents").LATENTS.clear()


def yoeo(given: dict) -> list[Tensor]:
    forget()
    return list(
        nodes()["EraseOnceYOEO"].execute(**given, image=IMAGE, mask=MASK, steps=2, candidates=2, **SETTINGS)[:3]
    )


def eradiff(given: dict) -> list[Tensor]:
    forget()
    own = {"steps": 2, "strength": 1.0, "attention": "rectified", "candidates": 2, "softness": 0.2}
    return list(nodes()["EraseOnceEraDiff"].execute(**given, image=IMAGE, mask=MASK, **own, **SETTINGS)[:3])


def rectified_sampling(given: dict) -> list[Tensor]:
    """Self-Rectifying Attention and our sigmas under the stock sampler."""
    latent = given["vae"].encode(IMAGE[:, :64, :88])
    (patched,) = nodes()["EraseOnceSRA"].execute(given["model"], MASK[:, :64, :88], "rectified", "all", 0.0, 1.0).result
    (sigmas,) = nodes()["EraseOnceSigmas"].execute(patched, "eradiff", 3, 1.0).result
    looks_at = {"concat_latent_image": latent, "concat_mask": MASK[:, None, :64, :88]}
    prompt = [[tokens, {**extras, **looks_at}] for tokens, extras in given["conditioning"]]
    sampler = comfy("comfy.samplers").sampler_object("euler")
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(1))
    callback = room("boundary").progress(patched, 3)
    sample = comfy("comfy.sample").sample_custom
    return [sample(patched, noise, 1.0, sampler, sigmas, prompt, prompt, latent, callback=callback)]


def checked(given: dict) -> list[Tensor]:
    found = nodes()["EraseOnceSundryCheck"].execute(TWO, MASK, given["detector"], "custom", 0.1, 0.1)
    return [torch.tensor(found[2]), found[3], found[4]]


def snapped(given: dict) -> list[Tensor]:
    return [nodes()["EraseOnceSnapMask"].execute(TWO, MASK, given["detector"], 2)[0]]


RUNS = [yoeo, eradiff, rectified_sampling, checked, snapped]
every_run = pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)


def networks(given: dict) -> dict[str, tuple[object, str]]:
    """Each network's place and the method that a run calls."""
    return {
        "unet": (given["model"].model.diffusion_model, "forward"),
        "encode": (given["vae"].first_stage_model, "encode"),
        "decode": (given["vae"].first_stage_model, "decode"),
        "detector": (given["detector"].model.network, "forward"),
    }


@contextmanager
def before_calls(place: tuple[object, str], look: Callable[[Tensor, int], None]) -> Iterator[list[int]]:
    """Look at what a network is given, and at the call's number, before each call; the list is all batches' lengths."""
    (network, name), lengths = place, []
    own = getattr(network, name)

    def instead(*given, **named):
        first = given[0] if given else named["pixel_values"]
        lengths.append(len(first))
        look(first, len(lengths) - 1)
        return own(*given, **named)

    setattr(network, name, instead)
    try:
        yield lengths
    finally:
        delattr(network, name)


def at_call(place: tuple[object, str], number: int, then: Callable[[], None]) -> AbstractContextManager[list[int]]:
    """Do something just before the given call of a network; the list's length is how often it was called."""
    return before_calls(place, lambda first, call: then() if call == number else None)


def fail() -> None:
    raise Broken("a network failed")


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def state(given: dict) -> list:
    """Everything that a run could leave on what it was given."""
    model, vae, detector = given["model"], given["vae"], given["detector"]
    counted = [len(model.patches), len(model.object_patches), len(model.attachments), len(vae.patcher.patches)]
    weights = [*model.model.state_dict().values(), *vae.first_stage_model.state_dict().values()]
    weights += detector.model.state_dict().values()
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.model.modules())
    return [counted, str(model.model_options), hooks, [float(w.double().sum()) for w in weights]]


@every_run
def test_a_failure_at_any_call_of_any_network_leaves_everything_as_it_was(given: dict, run: Callable):
    before, expected = state(given), run(given)
    failed = 0
    for place in networks(given).values():
        with at_call(place, -1, fail) as calls:
            run(given)
        for number in range(len(calls)):
            with at_call(place, number, fail), pytest.raises(Broken):
                run(given)
            failed += 1
            assert state(given) == before
    assert failed and same(run(given), expected)


@every_run
def test_cancelled_at_any_step_it_stops_there_and_leaves_everything_as_it_was(given: dict, run: Callable):
    management = comfy("comfy.model_management")
    before, expected, stopped = state(given), run(given), 0
    for place in networks(given).values():
        with at_call(place, -1, fail) as calls:
            run(given)
        for number in range(len(calls)):
            with at_call(place, number, management.interrupt_current_processing) as made:
                try:
                    run(given)
                except management.InterruptProcessingException:
                    stopped += 1
                    assert len(made) == number + 1
                else:  # after its last network nothing is left to stop but pictures to put together
                    assert number == len(calls) - 1
                    management.interrupt_current_processing(False)
            assert state(given) == before
    assert stopped and same(run(given), expected)
    assert not management.processing_interrupted()


def alive() -> int:
    """How many tensors there are; not bytes, of which an allocator keeps as many as it likes.

    Of latents that are known so many are kept at most (tests/test_encoding_once.py).
    """
    forget()
    gc.collect()
    return sum(issubclass(type(one), Tensor) for one in gc.get_objects())


ROOM = 48 * 2**20  # bytes by which the memory of a process may differ without anything being left behind


@pytest.mark.parametrize("count", [6, pytest.param(200, marks=pytest.mark.full)])
def test_many_erasures_in_a_row_leave_nothing_behind(given: dict, count: int):
    erasers = {"EraseOnceYOEO": {}, "EraseOnceEraDiff": {"strength": 1.0, "attention": "rectified"}}

    def again(number: int) -> None:
        size = 64 + 8 * (number % 3)  # another size each time, for what is kept by size
        hole = torch.zeros(1, size, size)
        hole[:, 10:30, 10 + number % 7 : 40] = 1
        image = torch.rand(1, size, size, 3)
        for node, own in erasers.items():
            nodes()[node].execute(**given, image=image, mask=hole, steps=1, **own, **{**SETTINGS, "seed": number})

    for number in range(max(3, count // 10)):
        again(number)
    before, was, process = alive(), state(given), Process()
    files, memory = process.num_fds(), process.memory_info().rss
    for number in range(count):
        again(number)
    assert alive() <= before and state(given) == was
    assert process.num_fds() <= files and process.memory_info().rss <= memory + ROOM


def test_a_patched_model_keeps_the_holes_of_a_few_sizes_only(given: dict):
    """ComfyUI keeps the output of Self-Rectifying Attention as long as the graph, and may sample it at any size."""
    (patched,) = nodes()["EraseOnceSRA"].execute(given["model"], MASK[:, :64, :64], "rectified", "all", 0.0, 1.0).result
    attention = next(iter(patched.model_options["transformer_options"]["patches_replace"]["attn1"].values()))

    def kept_after(sides: range) -> int:
        for side in sides:
            q = torch.rand(1, side * side, 64)
            options = {"n_heads": 2, "activations_shape": (1, 64, side, side), "original_shape": (1, 4, side, side)}
            options |= {"cond_or_uncond": [0], "sigmas": torch.tensor([5.0]), "attn_precision": None}
            attention(q, q, q, options)
        del q, options
        return alive()

    few = kept_after(range(18, 38, 2))
    assert kept_after(range(38, 64, 2)) <= few
    assert kept_after(range(2, 18)) <= few, "the smallest grids, which keep a mask instead"
