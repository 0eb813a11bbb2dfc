"""Pools of encoded samples: never of other things, made once by all processes, and as small in memory with millions."""

import os
import subprocess
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from test_order import drawn
from tiny import KL, TINY, tiny_checkpoint, tiny_config
from torch.utils.data import Dataset, default_collate
from training_runs import ROOT

from inpainting_core.engine import load_vae
from training.data.composites import Composites
from training.data.encoding import Encoder
from training.data.pools import PART, Pool, PoolDraws, claim, encode_parts
from training.data.recipe import NANO_RECIPE, Recipe

COUNT = 5 * PART + 7


class Numbers(Dataset):
    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return {"number": torch.tensor(index)}


def encode(batch):
    """Something that tells a sample, and a mask."""
    latent = batch["number"].float()[:, None, None, None].expand(-1, 1, 2, 3)
    return {"latent": latent, "mask": (latent % 2 == 0).float()}


def made(folder, encode=encode, **kwargs):
    folder.mkdir(parents=True, exist_ok=True)
    encode_parts(Numbers(), encode, folder, 10, 0, **kwargs)
    return {path.name: path.read_bytes() for path in folder.glob("part-*.safetensors")}


# what it was made of


def test_a_pool_of_other_things_is_refused_with_every_difference(tmp_path):
    facts = {"seed": 1, "autoencoder": "abc", "copies": (1, 3), "resolution": 512}
    claim(tmp_path / "pool", facts)
    claim(tmp_path / "pool", facts)
    with pytest.raises(ValueError, match=r"made of other things: autoencoder abc \(now x\), seed 1 \(now 2\)\."):
        claim(tmp_path / "pool", facts | {"seed": 2, "autoencoder": "x"})
    with pytest.raises(ValueError, match=r"holes None \(now d1\)"):
        claim(tmp_path / "pool", facts | {"holes": "d1"})
    (tmp_path / "pool" / "pool.json").unlink()
    (tmp_path / "pool" / "part-000000.safetensors").touch()
    with pytest.raises(ValueError, match="must have its pool.json"):
        claim(tmp_path / "pool", facts)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name in "ab":
        Image.effect_noise((90, 80), 40).convert("RGB").save(folder / f"{name}.png")
    return folder


def facts_of(photos, **changes):
    flags = {"size": 64, "length": 9, "seed": 0, "holes": "d1", "recipe": NANO_RECIPE} | changes
    return Composites(photos, **flags).facts()


def test_facts_name_whatever_a_sample_depends_on(photos, tmp_path):
    facts = facts_of(photos)
    assert facts == facts_of(photos)
    others = [{"size": 96}, {"length": 10}, {"seed": 1}, {"holes": "any"}, {"recipe": Recipe(unlabelled="drawn")}]
    assert all(facts_of(photos, **other) != facts for other in others)
    assert facts_of(photos, recipe=Recipe(**NANO_RECIPE.facts(), left_out=tmp_path / "a.csv")) == facts
    for path in photos.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert facts_of(tmp_path) == facts, "the same pictures elsewhere"
    Image.new("L", (90, 80), 1).save(tmp_path / "a_entities.png")
    assert facts_of(tmp_path) != facts, "one of them has a map now"


@pytest.mark.parametrize("shape", [TINY, KL], ids=["tiny", "kl"])
def test_an_autoencoder_is_known_by_its_weights(shape):
    config = tiny_config(vae=shape)

    def facts(seed, kept=torch.float32):
        vae = load_vae(tiny_checkpoint(config, seed)).to(kept).float()
        return Encoder(vae, config, torch.device("cpu")).facts()

    assert facts(0) == facts(0) == facts(0, torch.float16), "as a file keeps it"
    assert facts(0) != facts(1)


# how it is made


def test_a_pool_that_was_stopped_goes_on_with_the_parts_that_are_missing(tmp_path):
    whole, calls = made(tmp_path / "whole"), []

    def die(batch):
        calls.append(batch["number"].tolist())
        if len(calls) == 20:
            raise KeyboardInterrupt
        return encode(batch)

    (tmp_path / "parts").mkdir()
    with pytest.raises(KeyboardInterrupt):
        encode_parts(Numbers(), die, tmp_path / "parts", 10, 0)
    before = sorted(path.name for path in (tmp_path / "parts").glob("part-*"))
    assert before == ["part-000000.safetensors", "part-000001.safetensors"], "written as they were made"
    torn = tmp_path / "parts" / before[1]
    torn.write_bytes(torn.read_bytes()[:100])  # the machine went down
    first = (torn.parent / before[0]).stat().st_mtime_ns
    made(torn.parent)
    assert (torn.parent / before[0]).stat().st_mtime_ns == first, "not made again"
    assert {path.name: path.read_bytes() for path in torn.parent.glob("part-*")} == whole


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_the_work_and_nothing_is_made_twice(tmp_path, processes):
    whole, done = made(tmp_path / "whole"), []

    def counted(batch):
        done.extend(batch["number"].tolist())
        return encode(batch)

    for process in range(processes):
        alone = len(done)
        made(tmp_path / "shared", counted, process=process, processes=processes)
        assert len(done) - alone <= -(-6 // processes) * PART
    assert sorted(done) == list(range(COUNT))
    assert made(tmp_path / "shared", counted) == whole and len(done) == COUNT


def test_a_whole_pool_may_lie_on_a_disk_that_is_only_read_from(tmp_path):
    whole = made(tmp_path)
    (tmp_path / "process-0.lock").unlink(missing_ok=True)
    assert made(tmp_path, encode=None) == whole and not list(tmp_path.glob("*.lock")), "nothing is written"


def test_samples_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must give finite numbers, got others for .latent. from sample 64 on"):
        encode_parts(Numbers(), lambda batch: {"latent": 1 / (batch["number"] - 70.0)}, tmp_path, 10, 0)
    assert len(list(tmp_path.glob("part-*"))) == 1


# what is drawn from it


def test_a_pool_is_drawn_whole_before_anything_comes_again(tmp_path):
    made(tmp_path)
    draws = PoolDraws(Pool(tmp_path, COUNT), 3 * COUNT, seed=1, block=4)
    epochs = [[int(draws[COUNT * epoch + k]["latent"][0, 0, 0]) for k in range(COUNT)] for epoch in range(2)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs) and epochs[0] != epochs[1]
    sample = draws[5]
    assert sample["latent"].dtype == sample["mask"].dtype == torch.float32 and sample["number"] == 5
    assert sample["mask"].unique().item() == float(sample["latent"][0, 0, 0] % 2 == 0)
    with pytest.raises(ValueError, match="all machines of a run must see the folder"):
        Pool(tmp_path, COUNT + PART)


def test_a_batch_drawn_from_a_pool_has_one_shape(tmp_path):
    wide, tall = torch.rand(PART, 4, 3, 5), torch.rand(PART, 4, 5, 3)
    for number, part in enumerate((wide, tall, tall)):
        save_file({"latent": part.half()}, tmp_path / f"part-{number:06d}.safetensors")
    draws = PoolDraws(Pool(tmp_path, 3 * PART - 5), 8 * 300, seed=0, block=8)
    shapes = [default_collate([draws[start + k] for k in range(8)])["latent"].shape[-2:] for start in range(0, 2400, 8)]
    assert set(shapes) == {(3, 5), (5, 3)} and shapes.count((5, 3)) == pytest.approx(200, abs=5)
    assert len(set(drawn(draws.order, 0, 3 * PART - 8))) > 3 * PART - 30


def test_1_75_million_samples_need_the_memory_of_10_000(tmp_path):
    save_file({"latent": torch.zeros(PART, 4, 8, 8).half()}, tmp_path / "part-000000.safetensors")
    for part in range(1, 1_750_000 // PART):
        os.link(tmp_path / "part-000000.safetensors", tmp_path / f"part-{part:06d}.safetensors")
    program = f"""
from pathlib import Path
from psutil import Process
from training.data.pools import Pool, PoolDraws
for count in (10_000, 1_750_000 // {PART} * {PART}):
    draws = PoolDraws(Pool(Path({str(tmp_path)!r}), count), 10**9, 0, 8)
    for index in range(0, 10**7, 10007):
        draws[index]
    print(Process().memory_info().rss / 2**20)
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    few, many = map(float, ran.stdout.split())
    print(few, many)
    assert many - few < 100, "MB; the latents are 860"
