"""YOEO's third stage on a CPU: it stops and goes on exactly, two processes do what one does, and the judge is heard."""

import json
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import TINY, UNET_LIKE_SDXL, tiny_checkpoint, tiny_config, tiny_detector
from training_runs import assert_equal, killed_at, launch_two, logged, state_of

from inpainting_core.checkpoint import write_checkpoint
from training import train_yoeo_stage2, train_yoeo_stage3
from training.data.recipe import NANO_FLAGS
from training.running.run import Run
from yoeo_core.detector import SundryDetector, write_detector

SMALL = f"{NANO_FLAGS} --resolution 32 --workers 0 --perceptual stlpips_alex".split()
CACHE = pytest.mark.parametrize("cache", [[], ["--cache-latents", "6"]], ids=["on the fly", "cached"])


@pytest.fixture(scope="module")
def before(tmp_path_factory, photos) -> dict[str, Path]:
    """A teacher of random weights, what stage 2 makes of it in one step, and a detector that finds most queries."""
    folder = tmp_path_factory.mktemp("before")
    teacher, student, detector = folder / "teacher.safetensors", folder / "stage2", folder / "detector.safetensors"
    write_checkpoint(teacher, tiny_checkpoint(tiny_config(vae=TINY, prediction="v_prediction")), torch.float32)
    argv = ["--teacher", str(teacher), "--images", str(photos), "--out", str(student), "--steps", "1"]
    train_yoeo_stage2.main(train_yoeo_stage2.parse_args([*argv, *SMALL, "--batch-size", "2", "--lr", "1e-4"]))
    write_detector(detector, sharp_detector(), torch.float32)
    return {"teacher": teacher, "student": student / "model.safetensors", "detector": detector}


def sharp_detector() -> SundryDetector:
    """A detector of random weights whose masks are sure, so that some run across a hole's edge."""
    detector = tiny_detector(seed=3, queries=8)
    embedder = detector.network.model.transformer_module.decoder.mask_predictor.mask_embedder
    last = [module for module in embedder.modules() if isinstance(module, torch.nn.Linear)][-1]
    last.weight.data.mul_(60), last.bias.data.mul_(60)
    return detector


def argv(before: dict[str, Path], photos: Path, out: Path, *extra: str) -> list[str]:
    inherited = [text for name, path in before.items() for text in (f"--{name}", str(path))]
    return [*inherited, "--images", str(photos), "--out", str(out), *SMALL, *extra]


def train(*arguments) -> dict[str, torch.Tensor]:
    """Run the script and return the weights it wrote."""
    args = train_yoeo_stage3.parse_args(argv(*arguments))
    train_yoeo_stage3.main(args)
    return load_file(Path(args.out) / "model.safetensors")


def test_teacher_and_student_must_see_the_same_hole(before, photos, tmp_path):
    config = replace(tiny_config(vae=TINY, prediction="v_prediction"), under_hole="continued")
    write_checkpoint(tmp_path / "teacher.safetensors", tiny_checkpoint(config), torch.float32)
    other = {**before, "teacher": tmp_path / "teacher.safetensors"}
    with pytest.raises(ValueError, match="must see the same under their hole, got continued and grey."):
        train(other, photos, tmp_path / "run", "--steps", "1")


def test_an_sdxl_is_distilled_and_judged_by_the_same_commands(before, photos, tmp_path):
    """Its pooled prompt and picture size reach the student, the teacher's middle and the fake score alike."""
    teacher, distilled = tmp_path / "teacher.safetensors", tmp_path / "stage2"
    write_checkpoint(teacher, tiny_checkpoint(tiny_config(UNET_LIKE_SDXL, TINY)), torch.float32)
    extra = "--resolution 40 --steps 1 --batch-size 1 --gradient-checkpointing".split()
    flags = ["--teacher", str(teacher), "--images", str(photos), "--out", str(distilled), *SMALL, *extra]
    train_yoeo_stage2.main(train_yoeo_stage2.parse_args(flags))
    names = {**before, "teacher": teacher, "student": distilled / "model.safetensors"}
    judged = train(names, photos, tmp_path / "stage3", *extra, "--dtype", "fp32")
    student = load_file(distilled / "model.safetensors")
    moved = [key for key in judged if not torch.equal(judged[key], student[key])]
    assert "model.diffusion_model.label_emb.0.0.weight" in moved, "what SDXL is told besides is learned too"
    assert not any(key.startswith("first_stage_model") for key in moved)


@CACHE
def test_a_killed_run_ends_as_if_nothing_had_happened(before, photos, tmp_path, monkeypatch, cache):
    extra = [*"--steps 6 --save-every 1 --batch-size 2 --lr 1e-4 --ema 0.5".split(), *cache]
    whole = train(before, photos, tmp_path / "whole", *extra)
    kinds = logged(tmp_path / "whole", "unpaired")
    assert 0 < sum(kinds) < 6, "the run must see both sets"
    for stop in (1, 4):
        with killed_at(monkeypatch, stop):
            train(before, photos, tmp_path / "parts", *extra)
    resumed = train(before, photos, tmp_path / "parts", *extra)
    state = state_of(tmp_path / "whole", 6)
    assert len([name for name in state if name.startswith("model")]) == 2, "student and discriminator"
    assert len([name for name in state if name.startswith("optim")]) == 2
    assert_equal(state, state_of(tmp_path / "parts", 6))
    assert_equal(whole, resumed)
    assert_equal(*[load_file(tmp_path / run / "discriminator.safetensors") for run in ("whole", "parts")])


def test_two_processes_train_as_one_does_on_the_same_global_batch(before, photos, tmp_path):
    extra = "--steps 6 --save-every 6 --lr 1e-4 --cache-latents 8".split()
    train(before, photos, tmp_path / "one", *extra, "--batch-size", "4")
    launch_two("training.train_yoeo_stage3", argv(before, photos, tmp_path / "two", *extra, "--batch-size", "2"))
    names = "lpips dmd gan discriminator efc start unpaired lpips_norm efc_norm efc_norm_after".split()
    for name in names:
        one, two = logged(tmp_path / "one", name), logged(tmp_path / "two", name)
        # rounding, six steps on; a gradient's norm is a rougher thing than a loss, by .5% on some processors
        rel = 0.02 if "norm" in name else 3e-3
        assert any(one) and two == pytest.approx(one, abs=1e-5, rel=rel), name


def test_nothing_of_a_pass_is_kept_when_its_step_is_taken(before, photos, tmp_path, monkeypatch):
    """The norms need the graphs after they were walked; kept any longer, the next pass would need twice the memory."""
    pull_of, step, kept = train_yoeo_stage3.pull_of, Run.step, []

    def pull(terms, told, latent, *rest):
        kept.extend(weakref.ref(tensor) for tensor in (*terms.values(), *told.values(), latent))
        return pull_of(terms, told, latent, *rest)

    def look(run, losses, *rest):
        kept.append([ref for ref in kept if ref() is not None])
        return step(run, losses, *rest)

    monkeypatch.setattr(train_yoeo_stage3, "pull_of", pull), monkeypatch.setattr(Run, "step", look)
    train(before, photos, tmp_path, *"--steps 1 --batch-size 1 --cache-latents 4".split())
    assert len(kept) > 4 and kept.pop() == []


def test_the_discriminator_learns_from_paired_batches_only(before, photos, tmp_path):
    extra = "--steps 6 --save-every 1 --batch-size 2 --lr 1e-2".split()
    train(before, photos, tmp_path, *extra)
    kinds, told = logged(tmp_path, "unpaired"), logged(tmp_path, "discriminator")
    assert len(told) == kinds.count(0.0) and 0 < len(told) < 6


def test_no_term_of_the_detector_pulls_harder_than_its_share_of_lpips(before, photos, tmp_path):
    """A share so small that a detector of random weights is held to it; the usual one is half."""
    train(before, photos, tmp_path, *"--steps 4 --batch-size 4 --cache-latents 8 --lambda-efc 1e-3".split())
    norms, after = logged(tmp_path, "efc_norm"), logged(tmp_path, "efc_norm_after")
    share = [norm / 1000 for norm in logged(tmp_path, "lpips_norm")]
    assert after == pytest.approx([min(pair) for pair in zip(norms, share, strict=True)], rel=1e-4)
    assert any(norm > most for norm, most in zip(norms, share, strict=True)), "a cap that never acts shows nothing"


@pytest.mark.parametrize("without", [["d2"], ["ss"], ["efc"], ["ss", "efc"]])
def test_a_part_can_be_left_out(before, photos, tmp_path, without):
    train(before, photos, tmp_path, *"--steps 4 --batch-size 2 --cache-latents 4 --without".split(), *without)
    told = {name for name in ("efc", "ss_mask", "ss_probability") if logged(tmp_path, name)}
    expected = {"efc"} - set(without)
    if not {"d2", "ss"} & set(without):
        expected |= {"ss_mask", "ss_probability"}
    assert told == expected
    assert any(logged(tmp_path, "unpaired")) is ("d2" not in without)
    assert json.loads((tmp_path / "held_out.json").read_text())["without"] == without


def test_it_says_what_it_inherits_and_looks_at_held_out_pictures(before, photos, tmp_path, capsys):
    extra = "--steps 2 --batch-size 2 --gradient-checkpointing selective --validation".split()
    train(before, photos, tmp_path, *extra, str(photos))
    said = capsys.readouterr().out
    assert f"{before['teacher']} teaches" in said and f"{before['student']} goes on" in said
    facts = json.loads((tmp_path / "held_out.json").read_text())
    assert facts["before"]["stage"] == "yoeo_stage2"
    assert {"msn", "mars", "hole_psnr_2_step"} <= facts.keys()
    assert list((tmp_path / "sheets").iterdir())


def test_the_defaults_are_the_authors():
    args = train_yoeo_stage3.parse_args("--teacher t --student s --detector d --images i --out o".split())
    assert (args.steps, args.batch_size, args.lr, args.lr_schedule) == (3600, 7, 1e-5, "constant")
    assert (args.perceptual, args.without, args.dtype) == ("lpips_vgg", [], "fp16")


def test_half_precision_without_range_is_refused(capsys):
    with pytest.raises(SystemExit):
        train_yoeo_stage3.parse_args(
            "--teacher t --student s --detector d --images i --out o --mixed-precision fp16".split()
        )
    assert "must be no or bf16" in capsys.readouterr().err
