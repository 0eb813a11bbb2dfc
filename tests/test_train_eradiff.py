"""EraDiff's training on a CPU: it learns, stops and goes on exactly, and two processes do what one does."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_runs import assert_equal, killed_at, launch_two, logged, state_of

from eradiff_core.synthesis import Ranges
from training import train_eradiff
from training.data.synthesis_flags import ranges_of

SMALL = "--objects drawn --resolution 32 --workers 0 --lr 1e-3 --hole-weight 3 --ema 0.5".split()


def argv(base: Path, photos: Path, out: Path, *extra: str) -> list[str]:
    return ["--base", str(base), "--images", str(photos), "--out", str(out), *SMALL, *extra]


def train(*arguments) -> dict[str, torch.Tensor]:
    """Run the script and return the weights it wrote."""
    args = train_eradiff.parse_args(argv(*arguments))
    train_eradiff.main(args)
    return load_file(Path(args.out) / ("lora.safetensors" if args.lora_rank else "model.safetensors"))


STOPS = sorted(np.random.default_rng(20261122).choice(np.arange(1, 12), 5, replace=False).tolist())


@pytest.mark.parametrize("cache", [[], ["--cache-latents", "6"]], ids=["on the fly", "cached"])
def test_killed_at_five_random_steps_it_ends_as_if_nothing_had_happened(
    base_file, photos, tmp_path, monkeypatch, cache
):
    extra = [*"--steps 12 --save-every 1 --batch-size 2 --lr-schedule cosine --rectified 0.5".split(), *cache]
    seen = []
    drawn = train_eradiff.draw_jump

    def watch(generator, *arguments):
        seen.append(drawn(generator, *arguments))
        return seen[-1]

    monkeypatch.setattr(train_eradiff, "draw_jump", watch)
    whole = train(base_file, photos, tmp_path / "whole", *extra)
    expected = list(seen)
    seen.clear()
    for stop in STOPS:
        with killed_at(monkeypatch, stop):
            train(base_file, photos, tmp_path / "parts", *extra)
    resumed = train(base_file, photos, tmp_path / "parts", *extra)
    assert seen == expected, "every batch came once, in order, with the same jumps"
    assert_equal(state_of(tmp_path / "whole", 12), state_of(tmp_path / "parts", 12))
    assert_equal(whole, resumed)


def test_the_attention_that_is_trained_under_may_be_soft(base_file, photos, tmp_path):
    """Wholly soft is plain attention, and half of it neither that nor the paper's."""
    sra = "--steps 1 --batch-size 2 --rectified 1 --softness".split()
    runs = {"plain": ["--steps", "1", "--batch-size", "2"], "1": [*sra, "1"], "0": [*sra, "0"]}
    runs["rising"] = [*sra, "0.1", "--softness-rising"]
    weights = {name: train(base_file, photos, tmp_path / name, *flags) for name, flags in runs.items()}
    losses = {name: logged(tmp_path / name, "loss")[0] for name in runs}
    assert losses["1"] == pytest.approx(losses["plain"], rel=1e-5)
    assert len({round(losses[name], 9) for name in ("plain", "0", "rising")}) == 3
    assert all(value.isfinite().all() for value in weights["rising"].values())


@pytest.mark.parametrize("cache", [[], ["--cache-latents", "8"]], ids=["on the fly", "cached"])
def test_two_processes_train_as_one_does_on_the_same_global_batch(base_file, photos, tmp_path, cache):
    extra = [*"--steps 3 --save-every 3 --rectified 0.5".split(), *cache]
    train(base_file, photos, tmp_path / "one", *extra, "--batch-size", "4")
    launch_two("training.train_eradiff", argv(base_file, photos, tmp_path / "two", *extra, "--batch-size", "2"))
    one, two = logged(tmp_path / "one", "loss"), logged(tmp_path / "two", "loss")
    assert len(one) == 3
    assert two == pytest.approx(one, abs=1e-5)
    after_one, after_two = (state_of(tmp_path / name, 3)["model"] for name in ("one", "two"))
    # Adam divides by the gradient's own size: where a gradient is 0 but for rounding, a weight goes where that points
    apart = torch.cat([(after_one[key] - after_two[key]).abs().flatten() for key in after_one])
    assert (apart > 1e-4).float().mean() < 0.02


def test_training_lowers_the_loss_on_what_it_sees(base_file, photos, tmp_path):
    train(base_file, photos, tmp_path, *"--steps 40 --batch-size 4 --cache-latents 4 --save-every 40".split())
    losses = logged(tmp_path, "loss")
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_the_smallest_step_is_in_the_file_that_training_goes_on_from(base_file, photos, tmp_path):
    """fp16 has no number between 1 and 1.001, where the scales of norms are."""
    first, moved = (
        load_file(base_file),
        train(base_file, photos, tmp_path, *"--steps 1 --batch-size 2 --lr 3e-6 --ema 0".split()),
    )
    scales = [key for key in first if "diffusion_model" in key and first[key].ndim == 1 and (first[key] == 1).all()]
    assert len(scales) > 10
    for key in scales:
        assert (moved[key] != 1).float().mean() > 0.9, key


def test_a_lora_moves_alone_and_resumes(base_file, photos, tmp_path, monkeypatch):
    extra = "--steps 4 --save-every 2 --batch-size 2 --cache-latents 4 --lora-rank 2 --dtype fp16".split()
    whole = train(base_file, photos, tmp_path / "whole", *extra)
    with killed_at(monkeypatch, 2):
        train(base_file, photos, tmp_path / "parts", *extra)
    assert_equal(whole, train(base_file, photos, tmp_path / "parts", *extra))
    assert {value.dtype for value in whole.values()} == {torch.float16}
    assert all(".lora_" in key or key.endswith(".alpha") for key in whole)
    assert any(value.any() for key, value in whole.items() if key.endswith("lora_up.weight"))


def test_pictures_can_be_mixed_instead_of_latents_and_jumps_fitted_to_a_sampler(base_file, photos, tmp_path):
    extra = "--steps 2 --batch-size 2 --mix-pixels --sampler-steps 12 --gradient-checkpointing selective".split()
    train(base_file, photos, tmp_path, *extra, "--validation", str(photos))
    facts = json.loads((tmp_path / "held_out.json").read_text())
    assert facts["hole_psnr_0.6"] > 0 and list((tmp_path / "sheets").iterdir())
    assert facts["hole_psnr_0.6_off"] != facts["hole_psnr_0.6"], "without SRA too"
    with pytest.raises(SystemExit):
        train(base_file, photos, tmp_path / "no", *extra, "--cache-latents", "4")


def test_what_a_copy_and_its_hole_look_like_are_flags():
    flags = "--copies 5 --scale 0.3 0.9 --turn 10 --largest 0.4 --overlap 0.2 --grow 1 4 --boxes 0.25 --loose 0.5"
    args = train_eradiff.parse_args(["--base", "x", "--images", "y", "--out", "z", *flags.split()])
    expected = Ranges((1, 5), (0.3, 0.9), 10, 0.4, 0.2, (1, 4), boxes=0.25, loose=0.5)
    assert ranges_of(args) == expected


def test_the_defaults_are_the_papers():
    args = train_eradiff.parse_args(["--base", "x", "--images", "y", "--out", "z"])
    assert args.dtype == "fp32" and ranges_of(args) == Ranges()
    assert (args.lr, args.gamma_max, args.mixing, args.objects) == (3e-6, 100, "schedule", "mattes")
    assert (args.hole_weight, args.rectified, args.ema, args.sampler_steps) == (0, 0, 0, None)
