"""Two processes do what one does on the same global batch, from shards too, and each picture comes once an epoch."""

import gc
import os
import signal
from collections import Counter

import fitting
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from training_runs import assert_equal, fork_two, given_to, logged, state_of

from eradiff_core.synthesis import Ranges
from training import train_vae, train_yoeo_stage1
from training.data.composites import Composites
from training.data.detector_scenes import EntityScenes, HalfDecoded
from training.data.pairs import DrawnScenes, MatteScenes, Pairs
from training.data.pools import PART, Pool, PoolDraws, part_at
from training.data.recipe import Recipe
from training.data.stream import Stream
from training.data.views import PictureViews
from training.prepare_shards import write_shards
from training.running.endings import run_script
from training.running.judging import HalfUnpaired

COUNT, TAKEN = 7, Recipe(unlabelled="drawn")
LENGTH = 12 * COUNT  # samples


def composites(images, block, holes="d1", seed=0) -> Composites:
    return Composites(images, 64, LENGTH, seed, holes, TAKEN, block)


def half_decoded(images, block) -> HalfDecoded:
    kept = {"image": torch.zeros(3, 64, 64), "entities": torch.zeros(64, 64)}
    return HalfDecoded(EntityScenes(images, 64, LENGTH, 0, TAKEN), [kept])


SETS = {
    "eradiff, mattes": lambda images, block: Pairs(MatteScenes(images, 48, 0), LENGTH, 0, Ranges()),
    "eradiff, drawn": lambda images, block: Pairs(DrawnScenes(images, 48, 0), LENGTH, 0, Ranges()),
    "yoeo": composites,
    "yoeo, stage 3": lambda images, block: HalfUnpaired(
        composites(images, block), composites(images, block, "d2", 1), block, 0
    ),
    "detector": lambda images, block: EntityScenes(images, 64, LENGTH, 0, TAKEN),
    "detector, half decoded": half_decoded,
    "autoencoder": lambda images, block: PictureViews(images, 64, LENGTH, 0, smooth_every=10**9),
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Seven pictures with mattes in shards of 3, 3 and 1."""
    folder, out = tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("shards")
    for number in range(COUNT):
        Image.effect_noise((96, 90), 10 + 5 * number).convert("RGB").save(folder / f"{number}.png")
        matte = Image.new("L", (96, 90))
        matte.paste(255, (40, 40, 56, 56))
        matte.save(folder / f"{number}_matte.png")
    write_shards(folder, out / "set", 3)
    return out


def assert_once_an_epoch(names: list, count: int = COUNT) -> None:
    """The last epoch may break off."""
    assert len(names) > count
    for start in range(0, len(names), count):
        assert set(Counter(names[start : start + count]).values()) == {1}, names


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("kind", SETS)
def test_every_picture_of_uneven_shards_comes_once_an_epoch(shards, kind, processes, monkeypatch):
    """A global batch of 6; stage 3 and the half-decoded scenes show two sets by turns, each of them whole."""
    samples, seen, read = SETS[kind](shards, 6), {}, Stream.read

    def watched(stream, index, function, ahead=0):
        if ahead == 0:
            seen.setdefault(sample, stream.source.name(stream.order.at(*stream.order.place(index))))
        return read(stream, index, function, ahead)

    monkeypatch.setattr(Stream, "read", watched)
    given, unpaired = given_to(processes, 6 // processes, LENGTH), set()
    assert sorted(given) == list(range(LENGTH))
    for sample in given:
        made = samples[sample]
        assert kind == "autoencoder" or int(made["number"]) == sample, "its noise is its own"
        unpaired |= {sample} if kind == "yoeo, stage 3" and made["unpaired"] else set()
    for taken in (set(seen) & unpaired, set(seen) - unpaired):
        if taken or kind == "yoeo, stage 3":
            assert_once_an_epoch([seen[sample] for sample in sorted(taken)])


@pytest.mark.parametrize("kind", SETS)
def test_no_picture_stays_in_memory(shards, kind):
    """Eight processes that each kept theirs would hold a large set eight times."""

    def alive() -> int:
        gc.collect()
        return sum(isinstance(each, Image.Image) for each in gc.get_objects())

    samples, before = SETS[kind](shards, 6), alive()
    for index in range(2 * COUNT):
        samples[index]
    assert alive() == before


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_kept_sample_comes_once_an_epoch(tmp_path, processes):
    """A pool of one part and seven samples more, alone and as the two sets of stage 3."""
    count = PART + COUNT
    for start in range(0, count, PART):
        numbers = torch.arange(start, min(start + PART, count))
        save_file({"latent": numbers.half().view(-1, 1, 1, 1)}, part_at(tmp_path, start))
    alone, other = (PoolDraws(Pool(tmp_path, count), 6 * count, seed, block=6) for seed in (0, 1))
    given = sorted(given_to(processes, 6 // processes, 6 * count))
    assert given == list(range(6 * count))
    mixed = [HalfUnpaired(alone, other, 6, seed=0)[sample] for sample in given]
    for samples in (
        [alone[sample] for sample in given],
        [sample for sample in mixed if not sample["unpaired"]],
        [sample for sample in mixed if sample["unpaired"]],
    ):
        assert_once_an_epoch([int(sample["latent"]) for sample in samples], count)
    assert [int(sample["number"]) for sample in mixed] == given, "its noise is its own"


def test_decoded_pictures_come_once_an_epoch_too(shards):
    class Noting(list):
        def __getitem__(self, place):
            asked.append(place)
            return super().__getitem__(place)

    asked, sample = [], {"image": torch.zeros(3, 4, 4), "entities": torch.zeros(4, 4)}
    half = HalfDecoded(EntityScenes(shards, 64, LENGTH, 0, TAKEN), Noting([sample] * COUNT))
    for odd in range(1, LENGTH, 2):
        half[odd]
    assert_once_an_epoch(asked)


def both(script, tmp_path, argv: list[str]) -> None:
    """One process with a batch of 4, two with 2 each."""
    one, two = (script.parse_args([*argv, "--out", str(tmp_path / size), "--batch-size", size]) for size in ("4", "2"))
    fork_two(script.main, two)
    script.main(one)
    one, two = (logged(tmp_path / size, "loss") for size in ("4", "2"))
    assert len(one) == 3 and two == pytest.approx(one, abs=1e-5)


def test_a_signal_to_one_process_saves_and_ends_both_at_one_step(photos, tmp_path, monkeypatch):
    def interrupt(loss: torch.Tensor) -> torch.Tensor:
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    def run(out: str, code: int) -> None:
        flags = f"--images {photos} --out {tmp_path / out} --workers 0 --steps 4 --ema 0.5"
        fork_two(lambda args: run_script(lambda: args, fitting.fit), fitting.parse_args(flags.split()), code)

    run("whole", 0)
    with monkeypatch.context() as patch:
        fitting.at_pass(patch, 1, interrupt)
        run("parts", 128 + signal.SIGTERM)
    assert (tmp_path / "parts" / "states" / "00000002").exists()
    run("parts", 0)
    assert_equal(*(state_of(tmp_path / out, 4) for out in ("whole", "parts")))


def test_stage_1_from_shards(base_file, shards, tmp_path):
    flags = "--resolution 32 --workers 0 --lr 1e-3 --steps 3 --gradient-accumulation 1 --rectified 0.5".split()
    flags += ["--unlabelled", "drawn", "--drawn-shapes", "--timestep-power", "0.6"]
    both(train_yoeo_stage1, tmp_path, ["--base", str(base_file), "--images", str(shards), *flags])


@pytest.mark.full  # half a minute, of the autoencoder's scale alone
def test_the_autoencoder_from_shards(shards, tmp_path):
    both(train_vae, tmp_path, ["--images", str(shards), *"--size 32 --workers 0 --steps 3".split()])
