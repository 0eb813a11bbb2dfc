"""YOEO's second stage on a CPU: it stops and goes on exactly, two processes do what one does, and it distils."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import TINY, UNET_LIKE_SD15, tiny_checkpoint, tiny_config
from training_runs import assert_equal, killed_at, launch_two, logged, state_of

from inpainting_core.checkpoint import write_checkpoint
from training import train_yoeo_stage2
from training.data.recipe import NANO_FLAGS

SMALL = f"{NANO_FLAGS} --resolution 32 --workers 0 --perceptual stlpips_alex --steps-per-phase 1".split()
CACHE = pytest.mark.parametrize("cache", [[], ["--cache-latents", "6"]], ids=["on the fly", "cached"])


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    write_checkpoint(path, tiny_checkpoint(tiny_config(vae=TINY, prediction="v_prediction")), torch.float32)
    return path


def argv(teacher: Path, photos: Path, out: Path, *extra: str) -> list[str]:
    return ["--teacher", str(teacher), "--images", str(photos), "--out", str(out), *SMALL, *extra]


def train(*arguments) -> dict[str, torch.Tensor]:
    """Run the script and return the weights it wrote."""
    args = train_yoeo_stage2.parse_args(argv(*arguments))
    train_yoeo_stage2.main(args)
    return load_file(Path(args.out) / "model.safetensors")


def test_views_too_small_to_be_judged_are_refused_before_anything_is_trained(photos, tmp_path):
    """Deeper UNets leave less of a view: one of 32 px would have ended the run whenever it came."""
    write_checkpoint(tmp_path / "deep.safetensors", tiny_checkpoint(tiny_config(UNET_LIKE_SD15, TINY)), torch.float32)
    flags = ["--teacher", str(tmp_path / "deep.safetensors"), "--images", str(photos), "--out", str(tmp_path / "run")]
    flags += "--resolution 64 --unlabelled drawn --perceptual stlpips_alex --workers 0".split()
    with pytest.raises(ValueError, match="at least 40 px a side, got 32 x 96 among those of this --resolution"):
        train_yoeo_stage2.main(train_yoeo_stage2.parse_args(flags))


@CACHE
def test_a_killed_run_ends_as_if_nothing_had_happened(teacher, photos, tmp_path, monkeypatch, cache):
    extra = [*"--steps 5 --save-every 1 --batch-size 2 --lr 1e-4 --separate-fake --ema 0.5".split(), *cache]
    whole = train(teacher, photos, tmp_path / "whole", *extra)
    for stop in (1, 4):
        with killed_at(monkeypatch, stop):
            train(teacher, photos, tmp_path / "parts", *extra)
    resumed = train(teacher, photos, tmp_path / "parts", *extra)
    state = state_of(tmp_path / "whole", 5)
    assert len([name for name in state if name.startswith("model")]) == 3, "student, discriminator and fake score"
    assert_equal(state, state_of(tmp_path / "parts", 5))
    assert_equal(whole, resumed)
    assert_equal(*[load_file(tmp_path / run / "discriminator.safetensors") for run in ("whole", "parts")])


def test_two_processes_train_as_one_does_on_the_same_global_batch(teacher, photos, tmp_path):
    extra = "--steps 4 --save-every 4 --lr 1e-4 --cache-latents 8".split()
    train(teacher, photos, tmp_path / "one", *extra, "--batch-size", "4")
    launch_two("training.train_yoeo_stage2", argv(teacher, photos, tmp_path / "two", *extra, "--batch-size", "2"))
    for name in ("lpips", "dmd", "gan", "discriminator", "start"):
        one, two = logged(tmp_path / "one", name), logged(tmp_path / "two", name)
        assert len(one) == 4
        assert two == pytest.approx(one, abs=1e-5, rel=2e-3), name  # rounding, which differs by processor


def test_the_student_moves_towards_its_teachers_answer(teacher, photos, tmp_path):
    extra = "--steps 30 --batch-size 2 --cache-latents 2 --lr 3e-3 --steps-per-phase 1000".split()
    train(teacher, photos, tmp_path, *extra)
    lpips = logged(tmp_path, "lpips")
    assert sum(lpips[-8:]) < 0.8 * sum(lpips[:8])


def test_it_says_what_it_inherits_and_looks_at_held_out_pictures(teacher, photos, tmp_path, capsys):
    extra = "--steps 1 --batch-size 2 --gradient-checkpointing selective --validation".split()
    train(teacher, photos, tmp_path, *extra, str(photos))
    assert "teaches and is where the student starts" in capsys.readouterr().out
    facts = json.loads((tmp_path / "held_out.json").read_text())
    assert {value.dtype for value in load_file(tmp_path / "model.safetensors").values()} == {torch.float32}
    assert facts["stage"] == "yoeo_stage2" and facts["hole_psnr_2_step"] > 0
    assert list((tmp_path / "sheets").iterdir())


def test_the_defaults_are_the_authors():
    args = train_yoeo_stage2.parse_args(["--teacher", "x", "--images", "y", "--out", "z"])
    assert (args.steps, args.batch_size, args.lr, args.steps_per_phase) == (15_000, 7, 1e-5, 1500)
    assert (args.perceptual, args.separate_fake, args.lr_schedule) == ("lpips_vgg", False, "constant")
    assert args.dtype == "fp32", "stage 3 goes on from it"
