"""fp16 on a CPU, with the scaler that accelerate has on a card: gradients arrive as large as they are without it."""

from dataclasses import replace

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from tiny import KL, tiny_checkpoint, tiny_config
from torch.optim.optimizer import register_optimizer_step_pre_hook
from training_runs import state_of

from inpainting_core.engine import DiffusersEngine, load_vae
from training import train_eradiff, train_yoeo_stage1, train_yoeo_stage2
from training.data.encoding import Encoder
from training.data.pools import encode_parts
from training.running import run as bookkeeping

SMALL = "--resolution 32 --workers 0 --steps 1 --batch-size 2"


def run(script, argv: list[str]) -> None:
    """By itself: accelerate keeps one precision a process."""
    AcceleratorState._reset_state()
    script.main(script.parse_args(argv))
    AcceleratorState._reset_state()


def arriving(script, argv: list[str]) -> list[float]:
    """The norms of the gradients that the optimizer is given at a run's first step, network by network."""
    norms = []

    def watch(optimizer, *arguments):
        for group in optimizer.param_groups:
            norms.append(float(torch.cat([weight.grad.flatten() for weight in group["params"]]).norm()))

    handle = register_optimizer_step_pre_hook(watch)
    run(script, argv)
    handle.remove()
    return norms


def on_a_card(accelerator_of):
    """On a CPU accelerate leaves fp16 and its scaler out without a word."""

    def with_scaler(args):
        accelerator = accelerator_of(args)
        if args.mixed_precision == "fp16":
            accelerator.native_amp, accelerator.scaler = True, torch.amp.GradScaler("cpu", init_scale=1024.0)
        return accelerator

    return with_scaler


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        (train_eradiff, "--base {base} --objects drawn"),
        (train_yoeo_stage1, "--base {base} --unlabelled drawn --gradient-accumulation 1"),
        (
            train_yoeo_stage2,
            "--teacher {base} --unlabelled drawn --perceptual stlpips_alex --steps-per-phase 0 --separate-fake",
        ),
    ],
    ids=["eradiff", "stage 1", "stage 2"],
)
def test_gradients_are_unscaled_once(script, flags, base_file, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(bookkeeping, "accelerator_of", on_a_card(bookkeeping.accelerator_of))
    argv = [*flags.format(base=base_file).split(), "--images", str(photos), *SMALL.split()]
    full = arriving(script, [*argv, "--out", str(tmp_path / "full")])
    half = arriving(script, [*argv, "--out", str(tmp_path / "half"), "--mixed-precision", "fp16"])
    assert half == pytest.approx(full, rel=0.05)


def test_a_lora_run_keeps_what_is_frozen_in_bf16_and_what_it_learns_in_fp32(base_file, photos, tmp_path):
    argv = ["--base", str(base_file), "--images", str(photos), "--out", str(tmp_path), *SMALL.split()]
    run(train_eradiff, [*argv, *"--objects drawn --lora-rank 2 --lr 1e-3 --ema 0.5 --mixed-precision bf16".split()])
    kept = state_of(tmp_path, 1)["model"]
    learned = {key for key in kept if ".lora_" in key}
    assert {kept[key].dtype for key in learned} == {torch.float32}
    assert {kept[key].dtype for key in kept.keys() - learned} == {torch.bfloat16}
    written = load_file(tmp_path / "lora.safetensors")
    ups = [value for key, value in written.items() if key.endswith("lora_up.weight")]
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in written.values())
    assert ups and all(value.any() for value in ups), "it has learned"


def test_an_autoencoder_like_sdxls_never_runs_in_fp16():
    checkpoint = tiny_checkpoint(tiny_config(vae=replace(KL, needs_fp32=True)))
    encoder = Encoder(load_vae(checkpoint), checkpoint.config, torch.device("cpu"))
    engine = DiffusersEngine.of(checkpoint)
    image, latent = torch.rand(1, 3, 32, 32), torch.randn(1, 4, 4, 4)
    calls = [lambda: encoder.encode(image), lambda: encoder.decode(latent)]
    calls += [lambda: engine.encode(image), lambda: engine.decode(latent)]
    for call in calls:
        expected = call().detach()
        with torch.autocast("cpu", torch.float16):
            assert call().equal(expected)
        with torch.autocast("cpu", torch.bfloat16):
            assert not call().equal(expected), "bf16 has the range"


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, 1e5])
def test_latents_that_are_not_finite_are_never_kept(broken, tmp_path):
    samples = [{"latent": torch.zeros(4, 2, 2)}, {"latent": torch.full((4, 2, 2), broken)}]
    with pytest.raises(ValueError, match="must give finite numbers, got others for 'latent' .* this one overflows"):
        encode_parts(samples, dict, tmp_path, 1, 0)
    assert not list(tmp_path.glob("part-*"))
