"""Training the finder of effects on a CPU: it stops and goes on exactly, learns, and the file it leaves is a finder."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from training_runs import draw_photographs, killed_at

from training.data.effect_scenes import EffectScenes
from training.networks.effect_finder import EffectFinder, FinderConfig, load_finder, near
from training.train_effects import finder_loss, main, overlaps, parse_args

SMALL = "--resolution 32 --batch-size 2 --workers 0 --warmup 0".split()


def trained(out, photos, *extra):
    """Run the script and return the weights it wrote."""
    argv = ["--images", str(photos), "--objects", "drawn", "--out", str(out), *SMALL, *extra]
    main(parse_args(argv))
    return load_file(out / "effects.safetensors")


def test_a_resumed_run_gives_the_bits_of_one_that_never_stopped(photos, tmp_path, monkeypatch):
    extra = ["--steps", "4", "--save-every", "2"]
    whole = trained(tmp_path / "whole", photos, *extra)
    with killed_at(monkeypatch, 2):
        trained(tmp_path / "parts", photos, *extra)
    resumed = trained(tmp_path / "parts", photos, *extra)
    assert whole.keys() == resumed.keys()
    for key in whole:
        assert whole[key].equal(resumed[key]), key


def test_what_it_leaves_is_a_finder_and_says_how_it_was_made(photos, tmp_path):
    trained(tmp_path, photos, "--steps", "1", "--validation", str(photos))
    assert load_finder(tmp_path / "effects.safetensors").config == FinderConfig(32)
    facts = json.loads((tmp_path / "held_out.json").read_text())
    assert facts["steps"] == 1 and {"iou", "found_of_nothing", "resolution", "flags"} <= facts.keys()
    assert (tmp_path / "sheets" / "000001.jpg").exists()


def test_photographs_with_mattes_lend_their_objects(tmp_path):
    """The object is red on blue, and so is what is pasted; drawn things are of any colour."""
    folder = draw_photographs(tmp_path)
    pixels, matte = np.full((80, 80, 3), (30, 30, 200), dtype=np.uint8), np.zeros((80, 80), dtype=np.uint8)
    pixels[20:60, 30:50], matte[20:60, 30:50] = (220, 20, 20), 255
    Image.fromarray(pixels).save(folder / "c.png")
    Image.fromarray(matte).save(folder / "c_matte.png")
    scenes = EffectScenes(folder, 64, 30, 0, mattes=True)
    things = [scenes.lent(np.random.default_rng(number), number) for number in range(3)]
    for thing in things:
        red, _, blue = np.asarray(thing)[np.asarray(thing)[..., 3] > 200][:, :3].mean(0)
        assert red > 100 > blue
    assert all(float(scenes[number]["mask"].sum()) > 0 for number in range(4))


def test_it_learns():
    """One dark patch beside one bright box, always the same picture."""
    torch.manual_seed(0)
    finder = EffectFinder(FinderConfig(32, (8, 16))).train()
    image, mask, effect = torch.full((1, 3, 32, 32), 0.6), torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    mask[..., 8:16, 8:16] = effect[..., 16:24, 8:20] = 1
    image = image * (1 - 0.4 * effect) + mask * 0.4
    optimizer = torch.optim.AdamW(finder.parameters(), lr=1e-2)
    for _ in range(60):
        loss = finder_loss(finder(image, mask, near(mask)), effect, mask).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    found = (finder(image, mask, near(mask)) > 0) & (mask == 0)
    assert overlaps(found, effect)["iou"] > 0.8


def test_the_loss_is_one_number_a_sample_and_least_for_the_truth():
    effect, mask = torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    effect[0, :, 2:4], mask[..., 4:6, :] = 1, 1
    right, wrong = (finder_loss(sign * 20 * (2 * effect - 1), effect, mask) for sign in (1, -1))
    assert right.shape == (2,) and right.max() < 1e-3 < wrong.min()
    anything = (20 * (2 * effect - 1)).where(mask == 0, 7.0)
    assert torch.equal(finder_loss(anything, effect, mask), right), "within the mask nothing is asked for"


def test_overlap_counts_scenes_with_and_without_an_effect_apart():
    effect, found = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    effect[0, :, :2], found[0, :, :1], found[1, :, 0, 0] = 1, True, True
    assert overlaps(found, effect) == pytest.approx({"iou": 0.5, "found_of_nothing": 1 / 16})
