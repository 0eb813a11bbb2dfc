"""EraDiff's training on a CPU: it learns, stops and goes on exactly, and two processes do what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny import TINY, tiny_checkpoint, tiny_config

from eradiff_core.inpainting.checkpoint import write_checkpoint
from training import train_eradiff

ROOT = Path(__file__).resolve().parent.parent
SMALL = "--objects drawn --resolution 32 --workers 0 --lr 1e-3 --hole-weight 3 --ema 0.5".split()


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name in "ab":
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((80, 80), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    write_checkpoint(path, tiny_checkpoint(tiny_config(vae=TINY, prediction="v_prediction")), torch.float32)
    return path


def argv(base: Path, photos: Path, out: Path, *extra: str) -> list[str]:
    return ["--base", str(base), "--images", str(photos), "--out", str(out), *SMALL, *extra]


def train(*arguments) -> dict[str, torch.Tensor]:
    """Run the script and return the weights it wrote."""
    args = train_eradiff.parse_args(argv(*arguments))
    train_eradiff.main(args)
    return load_file(Path(args.out) / ("lora.safetensors" if args.lora_rank else "model.safetensors"))


def state_of(out: Path, step: int) -> dict[str, object]:
    """Everything that a run keeps to go on from."""
    slot = out / "states" / f"{step:08d}"
    optimizer = torch.load(slot / "optimizer.bin", weights_only=True)
    return {"weights": load_file(slot / "model.safetensors"), "optimizer": optimizer["state"]}


def assert_equal(one, other, where="") -> None:
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


STOPS = sorted(np.random.default_rng(20261122).choice(np.arange(1, 12), 5, replace=False).tolist())


@pytest.mark.parametrize("cache", [[], ["--cache-latents", "6"]], ids=["on the fly", "cached"])
def test_killed_at_five_random_steps_it_ends_as_if_nothing_had_happened(base, photos, tmp_path, monkeypatch, cache):
    extra = [*"--steps 12 --save-every 1 --batch-size 2 --lr-schedule cosine --rectified 0.5".split(), *cache]
    seen = []
    drawn = train_eradiff.draw_jump

    def watch(generator, *arguments):
        seen.append(drawn(generator, *arguments))
        return seen[-1]

    monkeypatch.setattr(train_eradiff, "draw_jump", watch)
    whole = train(base, photos, tmp_path / "whole", *extra)
    expected, save = list(seen), train_eradiff.save_for_resume
    seen.clear()
    for stop in STOPS:

        def save_and_die(accelerator, out, step, stop=stop):
            save(accelerator, out, step)
            if step == stop:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(train_eradiff, "save_for_resume", save_and_die)
            train(base, photos, tmp_path / "parts", *extra)
    resumed = train(base, photos, tmp_path / "parts", *extra)
    assert seen == expected, "every batch came once, in order, with the same jumps"
    assert_equal(state_of(tmp_path / "whole", 12), state_of(tmp_path / "parts", 12))
    assert_equal(whole, resumed)


def losses_of(out: Path) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next(out.rglob("events.out.*")).parent))
    events.Reload()
    return [event.value for event in events.Scalars("loss")]


@pytest.mark.parametrize("cache", [[], ["--cache-latents", "8"]], ids=["on the fly", "cached"])
def test_two_processes_train_as_one_does_on_the_same_global_batch(base, photos, tmp_path, cache):
    extra = [*"--steps 3 --save-every 3 --rectified 0.5".split(), *cache]
    train(base, photos, tmp_path / "one", *extra, "--batch-size", "4")
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.accelerate_cli",
        "launch",
        *"--multi_gpu --num_processes 2".split(),
    ]
    command += "--num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0".split()
    command += ["-m", "training.train_eradiff", *argv(base, photos, tmp_path / "two", *extra, "--batch-size", "2")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}  # so they speak through gloo
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    one, two = losses_of(tmp_path / "one"), losses_of(tmp_path / "two")
    assert len(one) == 3
    assert two == pytest.approx(one, abs=1e-5)
    after_one, after_two = (state_of(tmp_path / name, 3)["weights"] for name in ("one", "two"))
    # Adam divides by the gradient's own size, so that rounding in a gradient near 0 shows: an lr's share of a step
    assert max(float((after_one[key] - after_two[key]).abs().max()) for key in after_one) < 1e-4


def test_training_lowers_the_loss_on_what_it_sees(base, photos, tmp_path):
    train(base, photos, tmp_path, *"--steps 40 --batch-size 4 --cache-latents 4 --save-every 40".split())
    losses = losses_of(tmp_path)
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_a_lora_moves_alone_and_resumes(base, photos, tmp_path, monkeypatch):
    extra = "--steps 4 --save-every 2 --batch-size 2 --cache-latents 4 --lora-rank 2".split()
    whole, save = train(base, photos, tmp_path / "whole", *extra), train_eradiff.save_for_resume

    def save_and_die(accelerator, out, step):
        save(accelerator, out, step)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_eradiff, "save_for_resume", save_and_die)
        train(base, photos, tmp_path / "parts", *extra)
    assert_equal(whole, train(base, photos, tmp_path / "parts", *extra))
    assert all(".lora_" in key or key.endswith(".alpha") for key in whole)
    assert any(value.any() for key, value in whole.items() if key.endswith("lora_up.weight"))


def test_pictures_can_be_mixed_instead_of_latents_and_jumps_fitted_to_a_sampler(base, photos, tmp_path):
    extra = "--steps 2 --batch-size 2 --mix-pixels --sampler-steps 12 --gradient-checkpointing".split()
    train(base, photos, tmp_path, *extra, "--validation", str(photos))
    facts = json.loads((tmp_path / "held_out.json").read_text())
    assert facts["hole_psnr_0.6"] > 0 and list((tmp_path / "sheets").iterdir())
    with pytest.raises(SystemExit):
        train(base, photos, tmp_path / "no", *extra, "--cache-latents", "4")


def test_the_defaults_are_the_papers():
    args = train_eradiff.parse_args(["--base", "x", "--images", "y", "--out", "z"])
    assert (args.lr, args.gamma_max, args.mixing, args.objects) == (3e-6, 100, "schedule", "mattes")
    assert (args.hole_weight, args.rectified, args.ema, args.sampler_steps) == (0, 0, 0, None)
