"""The first-stage scripts on a CPU: they learn, they stop and go on exactly, and their losses are what they say."""

import json
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import load_file
from tiny import TINY, UNET_LIKE_SDXL, tiny_checkpoint, tiny_config
from training_runs import killed_at

from eradiff_core.synthesis import Ranges
from inpainting_core.checkpoint import read_checkpoint, write_checkpoint
from inpainting_core.copying import copy, smaller
from inpainting_core.engine import DiffusersEngine
from inpainting_core.latents import UNDER_HOLE, masked_picture
from training import train_vae, train_yoeo_stage1
from training.data.composites import Composites
from training.data.encoding import Encoder
from training.data.pairs import DrawnScenes, Pairs
from training.data.recipe import NANO_FLAGS, NANO_RECIPE
from training.data.shown import as_shown
from training.held_out.few_steps import hole_psnr
from training.networks.bases import NANO, fresh
from training.running.optimisation import hole_importance, lr_factor

SMALL = ["--batch-size", "2", "--gradient-accumulation", "1", "--resolution", "32", "--workers", "0", "--lr", "1e-3"]
SMALL += NANO_FLAGS.split()


@pytest.fixture(scope="module")
def vae(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("vae")
    argv = ["--images", str(photos), "--validation", str(photos), "--out", str(out), "--size", "32"]
    train_vae.main(train_vae.parse_args([*argv, "--steps", "2", "--batch-size", "2", "--save-every", "2"]))
    assert list((out / "sheets").iterdir())
    return out / "vae"


def stage1(out, photos, vae, *extra):
    """Run the script and return the weights it wrote."""
    argv = ["--base", "nano", "--vae", str(vae), "--images", str(photos), "--out", str(out), *SMALL, *extra]
    train_yoeo_stage1.main(train_yoeo_stage1.parse_args(argv))
    return load_file(out / "model.safetensors")


@pytest.mark.parametrize("cache", [[], ["--cache-latents", "6"]], ids=["on the fly", "cached"])
def test_a_resumed_run_gives_the_bits_of_one_that_never_stopped(photos, vae, tmp_path, monkeypatch, cache):
    extra = "--steps 4 --save-every 2 --ema 0.5 --lr-schedule cosine --gradient-accumulation 2".split()
    whole = stage1(tmp_path / "whole", photos, vae, *extra, *cache)
    with killed_at(monkeypatch, 2):
        stage1(tmp_path / "parts", photos, vae, *extra, *cache)
    resumed = stage1(tmp_path / "parts", photos, vae, *extra, *cache)
    assert whole.keys() == resumed.keys()
    for key in whole:
        assert whole[key].equal(resumed[key]), key


def test_runs_can_draw_from_one_pool(photos, vae, tmp_path):
    extra = ["--steps", "2", "--cache-latents", "4", "--pool", str(tmp_path)]
    first = stage1(tmp_path / "first", photos, vae, *extra)
    written = (tmp_path / "latents" / "part-000000.safetensors").stat().st_mtime_ns
    second = stage1(tmp_path / "second", photos, vae, *extra)
    assert (tmp_path / "latents" / "part-000000.safetensors").stat().st_mtime_ns == written, "encoded once"
    assert not (tmp_path / "second" / "latents").exists()
    assert all(first[key].equal(second[key]) for key in first)


def test_the_next_stage_goes_on_from_the_file_of_the_last(photos, vae, tmp_path):
    base = stage1(tmp_path / "base", photos, vae, "--steps", "1", "--holes", "any")
    argv = ["--base", str(tmp_path / "base" / "model.safetensors"), "--images", str(photos)]
    argv += [
        "--validation",
        str(photos),
        "--out",
        str(tmp_path / "d1"),
        *SMALL,
        "--steps",
        "1",
        "--gradient-checkpointing",
    ]
    train_yoeo_stage1.main(train_yoeo_stage1.parse_args(argv))
    after = load_file(tmp_path / "d1" / "model.safetensors")
    assert base.keys() == after.keys()
    moved = {key for key in base if not base[key].equal(after[key])}
    assert moved
    assert all(key.startswith("model.diffusion_model.") for key in moved), "the autoencoder and the prompt stay frozen"
    facts = json.loads((tmp_path / "d1" / "held_out.json").read_text())
    assert facts["holes"] == "d1"
    assert facts["hole_psnr_2_step"] > 0
    assert list((tmp_path / "d1" / "sheets").iterdir())


def test_what_a_unet_sees_under_its_hole_and_its_texture_are_chosen_once_and_inherited(photos, vae, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    stage1(first, photos, vae, "--steps", "1", *"--under-hole continued --texture borrowed --draws 3".split())
    argv = ["--base", str(first / "model.safetensors"), "--images", str(photos), "--out", str(second), *SMALL]
    train_yoeo_stage1.main(train_yoeo_stage1.parse_args([*argv, "--steps", "1"]))
    for run in (first, second):
        config = read_checkpoint(run / "model.safetensors").config
        assert (config.under_hole, config.texture, config.draws) == ("continued", "borrowed", 3)


@pytest.mark.parametrize("under_hole", UNDER_HOLE)
def test_a_run_trains_on_what_the_pipelines_will_show(vae, under_hole):
    networks = fresh(NANO, AutoencoderTiny.from_pretrained(vae))
    config = replace(networks.config, under_hole=under_hole)
    engine = DiffusersEngine(config, networks.unet, networks.vae, networks.empty_prompt)
    image, hole = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    hole[..., 8:24, 8:24] = 1
    encoded = Encoder(networks.vae, config, torch.device("cpu"))(image, hole)
    assert torch.allclose(encoded["masked"], engine.encode(masked_picture(image, hole, under_hole)), atol=1e-4)


def test_a_network_that_corrects_is_shown_the_copy_that_the_pipelines_make(photos, vae, tmp_path):
    config = replace(tiny_config(), under_hole="copied", resolution=32)
    sets = [
        Composites(photos, 64, 4, 0, "d1", NANO_RECIPE),
        Pairs(DrawnScenes(photos, 64, 0, NANO_RECIPE), 4, 0, Ranges()),
    ]
    for large in sets:
        samples = as_shown(lambda size, large=large: large if size == 64 else None, config)
        sample, whole = samples[1], large[1]
        picture = whole["image" if "image" in whole else "original"][None]
        made = copy(picture, whole["mask"][None], torch.Generator().manual_seed(0)).pictures
        assert torch.equal(sample["shown"], smaller(made)[0])
        assert {tuple(value.shape[-2:]) for value in sample.values() if value.ndim} == {(32, 32)}
        assert (sample["mask"] >= smaller(whole["mask"])).all() and samples.facts() != large.facts()
    extra = "--steps 1 --under-hole copied --validation".split()
    stage1(tmp_path / "run", photos, vae, *extra, str(photos))
    assert read_checkpoint(tmp_path / "run" / "model.safetensors").config.under_hole == "copied"


def test_a_base_like_sdxl_is_trained_with_its_pooled_prompt(photos, tmp_path):
    written = tiny_checkpoint(tiny_config(UNET_LIKE_SDXL, TINY))
    write_checkpoint(tmp_path / "base.safetensors", written)
    argv = ["--base", str(tmp_path / "base.safetensors"), "--images", str(photos), "--validation", str(photos)]
    argv += ["--out", str(tmp_path / "run"), *SMALL, "--steps", "1", "--gradient-checkpointing"]
    train_yoeo_stage1.main(train_yoeo_stage1.parse_args(argv))
    trained = read_checkpoint(tmp_path / "run" / "model.safetensors")
    assert trained.config.unet == UNET_LIKE_SDXL
    assert torch.equal(trained.empty_prompt.pooled, written.empty_prompt.pooled)
    key = "add_embedding.linear_1.weight"
    assert not torch.equal(trained.unet[key], written.unet[key]), "what is told besides is learned too"


def test_pictures_with_maps_train_in_the_shapes_nearest_to_theirs(vae, tmp_path, monkeypatch):
    for number, (width, height) in enumerate([(300, 180), (180, 300)]):
        ids = Image.new("L", (width, height))
        ids.paste(1, (60, 60, 120, 120))
        ids.save(tmp_path / f"{number}_entities.png")
        Image.effect_noise((width, height), 50).convert("RGB").save(tmp_path / f"{number}.png")
    seen, call = [], train_yoeo_stage1.call_unet

    def watched(unet, inputs, *rest):
        seen.append(inputs)
        return call(unet, inputs, *rest)

    monkeypatch.setattr(train_yoeo_stage1, "call_unet", watched)
    argv = ["--base", "nano", "--vae", str(vae), "--images", str(tmp_path), "--out", str(tmp_path / "run")]
    argv += "--resolution 128 --steps 4 --batch-size 2 --gradient-accumulation 1 --workers 0".split()
    train_yoeo_stage1.main(train_yoeo_stage1.parse_args(argv))
    assert {tuple(x.shape) for x in seen} == {(2, 9, 12, 20), (2, 9, 20, 12)}


def test_a_picture_that_cannot_be_read_stops_no_run(photos, vae, tmp_path):
    for path in photos.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "c.png").write_bytes(b"no picture")
    assert stage1(tmp_path / "run", tmp_path, vae, "--steps", "3")
    assert "c.png" in (tmp_path / "run" / "left_out.csv").read_text()


def test_a_nano_from_scratch_needs_an_autoencoder(photos, tmp_path):
    argv = ["--base", "nano", "--images", str(photos), "--out", str(tmp_path), *SMALL]
    with pytest.raises(ValueError, match="needs --vae"):
        train_yoeo_stage1.main(train_yoeo_stage1.parse_args(argv))


def test_the_defaults_are_the_authors():
    args = train_yoeo_stage1.parse_args(["--base", "x", "--images", "y", "--out", "z"])
    assert args.batch_size * args.gradient_accumulation == 1000
    assert (args.steps, args.lr, args.lr_schedule, args.holes) == (800, 1e-5, "constant", "d1")
    assert (args.hole_weight, args.timestep_power, args.ema) == (0, 1, 0)
    assert args.dtype == "fp32", "stage 2 goes on from it"


def test_hole_weight_zero_is_a_plain_mean_and_otherwise_favours_the_hole():
    squared = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)).square()
    mask = torch.zeros(3, 1, 8, 8)
    mask[:, :, :4] = 1
    assert hole_importance(mask, 0.0).eq(1).all()
    heavy = (squared * hole_importance(mask, 1e6)).flatten(1).mean(1)
    assert torch.allclose(heavy, squared[:, :, :4].flatten(1).mean(1), rtol=1e-4)


def test_learning_rate_warms_up_and_falls():
    assert [lr_factor(step, 10, 2, "constant") for step in (0, 1, 2, 9)] == [0.5, 1, 1, 1]
    assert lr_factor(2, 10, 2, "cosine") == 1
    assert lr_factor(6, 10, 2, "cosine") == pytest.approx(0.5)
    assert lr_factor(10, 10, 2, "cosine") == pytest.approx(0)


def test_psnr_counts_the_hole_only():
    image = torch.zeros(1, 3, 4, 4)
    fill, mask = image.clone(), torch.zeros(1, 1, 4, 4)
    fill[:, :, 0], mask[:, :, 0] = 0.1, 1
    assert hole_psnr(fill, image, mask).item() == pytest.approx(20.0, abs=1e-4)
    assert hole_psnr(fill + 0.5 * (1 - mask), image, mask).item() == pytest.approx(20.0, abs=1e-4)
