"""A training like the scripts' own, of a network that costs nothing: what tests of a run's bookkeeping drive."""

import argparse
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from training.running.best import HeldOut
from training.running.endings import run_script
from training.running.optimisation import add_run_flags, rates_of
from training.running.run import Run


class Points(Dataset):
    """Numbers to fit, each its own."""

    def __init__(self, length: int):
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.randn(4, generator=torch.Generator().manual_seed(index))


def passed_through(loss: torch.Tensor, number: int) -> torch.Tensor:
    """What a test puts in its place to let something happen in a pass."""
    return loss


def measured(step: int) -> float:
    """What a test puts in its place to let a step do well on held-out pictures."""
    return float(step)


def fit(args: argparse.Namespace) -> None:
    """Fit a line through points."""
    run = Run(args, "fit", needs=("images",))
    network = torch.nn.Linear(4, 1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.lr)
    rates = rates_of(optimizer, args, args.lr_schedule)
    held_out = HeldOut(lambda step: {"psnr": measured(step)}, by="psnr")
    (network,) = run.open([network], [optimizer], [rates], held_out)
    for number, points in run.batches(Points(args.steps * run.whole_batch)):
        with run.accelerator.accumulate(network):
            loss = passed_through((network(points) - points.sum(1, keepdim=True)).square().mean(), number)
            run.accelerator.backward(loss)
            run.step({"loss": loss})
        run.save_when_due()
    run.finish(lambda facts: torch.save(run.kept().state_dict(), run.out / "model.pt"), script="fit")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images")
    parser.add_argument("--validation")
    add_run_flags(parser, steps=10, batch_size=1, lr=1e-3, accumulation=1, dtype="fp32")
    return parser.parse_args(argv)


def fit_with(photos: Path, out: Path, flags: str) -> None:
    fit(parse_args(["--images", str(photos), "--out", str(out), "--workers", "0", "--ema", "0.5", *flags.split()]))


def at_pass(monkeypatch: pytest.MonkeyPatch, pass_number: int, happen) -> None:
    """The loss of this pass, counted from 0, goes through ``happen``."""
    at_passes(monkeypatch, {pass_number}, happen)


def at_passes(monkeypatch: pytest.MonkeyPatch, passes: set[int], happen) -> None:
    here = sys.modules[__name__]
    monkeypatch.setattr(here, "passed_through", lambda loss, number: happen(loss) if number in passes else loss)


def did(monkeypatch: pytest.MonkeyPatch, values: dict[int, float]) -> None:
    """What each step's state does on held-out pictures."""
    monkeypatch.setattr(sys.modules[__name__], "measured", values.__getitem__)


if __name__ == "__main__":
    run_script(parse_args, fit)
