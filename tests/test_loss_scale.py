"""Every optimizer moves its weights as far as Adam means them to: no gradient is so small that its eps swallows it."""

import pytest
import torch

from inpainting_core.built_in import ASSETS
from training import train_eradiff, train_yoeo_stage1, train_yoeo_stage2

BASE = ASSETS / "nano_base.safetensors"
SMALL = "--resolution 64 --workers 0 --save-every 1000"


def way(script, argv: list[str], eps: float | None, monkeypatch) -> list[torch.Tensor]:
    """How far a run moves the weights of each of its networks, with torch's eps put in the place of the script's."""
    moved = []

    def watched(kind: type[torch.optim.Optimizer]):
        def make(parameters, **settings):
            optimizer = kind(parameters, **settings | ({} if eps is None else {"eps": eps}))
            for group in optimizer.param_groups:
                moved.append([(weight, weight.detach().clone()) for weight in group["params"]])
            return optimizer

        return make

    with monkeypatch.context() as patch:
        for kind in (torch.optim.Adam, torch.optim.AdamW):
            patch.setattr(torch.optim, kind.__name__, watched(kind))
        script.main(script.parse_args(argv))
    return [torch.cat([(weight.detach() - start).flatten() for weight, start in run]) for run in moved]


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        (train_eradiff, f"--base {BASE} --objects drawn {SMALL} --batch-size 1 --steps 12 --lr 3e-6"),
        (
            train_yoeo_stage1,
            f"--base {BASE} {SMALL} --unlabelled drawn --batch-size 2 --gradient-accumulation 1 --steps 3",
        ),
        (
            train_yoeo_stage2,
            f"--teacher {BASE} {SMALL} --unlabelled drawn --squares --batch-size 1 --steps 3 --perceptual stlpips_alex"
            " --steps-per-phase 1 --separate-fake",
        ),
    ],
    ids=["eradiff", "stage 1", "stage 2"],
)
def test_the_weights_go_as_far_as_without_eps(script, flags, photos, tmp_path, monkeypatch):
    argv = ["--images", str(photos), *flags.split()]
    ours = way(script, [*argv, "--out", str(tmp_path / "ours")], None, monkeypatch)
    free = way(script, [*argv, "--out", str(tmp_path / "free")], 1e-30, monkeypatch)  # 0 / 0 is no step
    for one, other in zip(ours, free, strict=True):
        assert other.any() and (one - other).norm() < 0.02 * other.norm()
