"""The same seed gives the same bits: in a new process, alone or in a batch, whatever ran before."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from determined import Way, all_ways, digest, pictures
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
SEED = 3
SEEDLESS = ("check", "snap")
QUICK = [*("lcm", "ddim", "copy", "yoeo, tiny", "eradiff, tiny", "EraseOnceYOEO, tiny", "EraseOnceEraDiff, tiny")]
QUICK += ["check, tiny", "snap, tiny", "check, nano", "snap, nano"]
pytestmark = pytest.mark.usefixtures("in_comfyui")


@pytest.fixture(scope="module")
def ways(comfyui: Path) -> dict[str, Way]:
    return all_ways(comfyui)


@pytest.fixture(scope="module")
def expected(ways: dict[str, Way]) -> dict[str, list[Tensor]]:
    """What each way gives for the pictures of these tests, the first time that it is walked."""
    return {name: way(*pictures(), SEED) for name, way in ways.items()}


def test_a_new_process_gives_the_same_bits(comfyui: Path, expected: dict[str, list[Tensor]]):
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONHASHSEED": "5"}
    command = [sys.executable, str(ROOT / "tests" / "determined.py"), str(comfyui)]
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    assert json.loads(run.stdout.splitlines()[-1]) == {name: digest(made) for name, made in expected.items()}


def another_seed(way: Way) -> None:
    way(*pictures(), SEED + 1)


def another_size(way: Way) -> None:
    way(*pictures(64, 160), SEED)


def chance(way: Way) -> None:
    """All that draws from a generator of the whole process starts elsewhere."""
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    torch.randn(7)


class Stopped(RuntimeError):
    """What stops a run in these tests."""


def broken_off(way: Way) -> None:
    """Stopped at a convolution in the middle of the run, as Cancel or a lack of memory would stop it."""
    calls, convolve = 0, torch.nn.functional.conv2d

    def count_down(*given, **named):
        nonlocal calls
        calls += 1
        if calls == 20:
            raise Stopped
        return convolve(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "conv2d", count_down)
        try:
            way(*pictures(), SEED)
        except Stopped:
            return
    assert calls < 20  # of a way that has no network


@pytest.mark.parametrize("before", [another_seed, another_size, chance, broken_off])
def test_what_ran_before_makes_no_difference(ways: dict[str, Way], expected: dict, before: Callable[[Way], None]):
    for name in QUICK:
        before(ways[name])
        assert same(ways[name](*pictures(), SEED), expected[name]), name


def test_after_a_run_with_more_threads_it_is_as_before(ways: dict[str, Way], expected: dict):
    """That run itself may differ in its last bits."""
    threads, names = torch.get_num_threads(), ("lcm", "copy")
    torch.set_num_threads(threads + 1)
    try:
        for name in names:
            ways[name](*pictures(), SEED)
    finally:
        torch.set_num_threads(threads)
    assert all(same(ways[name](*pictures(), SEED), expected[name]) for name in names)


def test_nor_does_it_for_the_built_in_models_and_another_seed_gives_another_picture(ways: dict, expected: dict):
    for name, way in ways.items():
        chance(way)
        assert same(way(*pictures(), SEED + 1), expected[name]) == name.startswith(SEEDLESS), name
        if name not in QUICK:
            broken_off(way)
            assert same(way(*pictures(), SEED), expected[name]), name


def test_a_picture_is_the_same_alone_and_at_each_place_of_a_batch(ways: dict[str, Way], expected: dict):
    image, mask = pictures()
    for name in [*QUICK, "EraseOnceYOEO, nano", "EraseOnceEraDiff, nano"]:
        way = ways[name]
        turned = way(image.flip(0), mask.flip(0), SEED)
        for place in range(2):
            alone = way(image[place : place + 1], mask[place : place + 1], SEED)
            assert same(alone, [each(part, 2, place) for part in expected[name]]), name
            assert same(alone, [each(part, 2, 1 - place) for part in turned]), name


def each(part: Tensor, pictures: int, place: int) -> Tensor:
    """What of an output is one picture's."""
    return part.unflatten(0, (pictures, -1))[place]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))
