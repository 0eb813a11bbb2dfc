"""The bookkeeping of a run, which all trainings share: its folder, its steps, its states and its end."""

import argparse
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import Dataset
from tqdm import tqdm

from training.running.disk import check_room, check_space, state_size
from training.running.endings import RunEnded
from training.running.finite import Skipped, gradient_norm, learned, moved
from training.running.flags import check_paths
from training.running.lock import Lock
from training.running.optimisation import accelerator_of
from training.running.record import as_table, compare, record_of, write_record
from training.running.resume import loader_of, resume, save_for_resume
from training.running.stopping import Asked

SIGNALLED = 128  # plus the signal's number: what a shell exits with, and a supervisor starts again
Show = Callable[[int], dict[str, float]]  # draws the sheet of a step and measures


class Run:
    """A training from its flags to its end; the script keeps what it learns, and from what.

    ``needs`` are the flags that name what must be there.  Raises ValueError where it is not, where another run is at
    work in ``--out``, or where a run there was begun with other flags.
    """

    def __init__(self, args: argparse.Namespace, script: str, needs: tuple[str, ...]):
        check_paths(args, needs)
        self.args, self.script, self.out = args, script, Path(args.out)
        self.accelerator = accelerator_of(args)
        self.passes = self.accelerator.gradient_accumulation_steps
        self.record = record_of(args, script, self.accelerator.num_processes)
        if self.accelerator.is_main_process:
            self.lock = Lock(self.out)
            for difference in compare(self.out, self.record):
                print(f"resuming with {difference}")
            write_record(self.out, self.record)
        self.accelerator.wait_for_everyone()
        self._say_batch()
        set_seed(args.seed)
        self.asked, self.skipped = Asked(), Skipped()
        self.heard: dict[str, Tensor] = {}
        self.numbers: dict[str, float] = {}

    def _say_batch(self) -> None:
        each, processes = self.args.batch_size, self.accelerator.num_processes
        whole = each * processes * self.passes
        self.accelerator.print(f"a step sees {whole} samples: {each} x {processes} processes x {self.passes} passes")

    def open(
        self,
        learners: list[nn.Module],
        optimizers: list[torch.optim.Optimizer],
        rates: list[torch.optim.lr_scheduler.LRScheduler],
        average: AveragedModel | None = None,
    ) -> None:
        """Take over what the accelerator has prepared and go on from the newest state.

        The first learner is the one that is clipped, averaged and kept.
        """
        self.learners, self.optimizers, self.rates, self.average = learners, optimizers, rates, average
        self.accelerator.register_for_checkpointing(*rates, *([average] if average is not None else []))
        self.accelerator.init_trackers(self.script)
        networks = [*learners, *([average] if average is not None else [])]
        self.size = state_size(networks, moved(optimizers))
        self.accelerator.print(check_space(self.out, self.size))
        self.step_number, said = resume(self.accelerator, self.out)
        self.skipped.total, self.skipped.in_a_row = said.get("skipped", 0), said.get("in_a_row", 0)
        self.saved_at = time.monotonic()
        if self.accelerator.is_main_process:
            self.accelerator.get_tracker("tensorboard", unwrap=True).add_text("flags", as_table(self.record))

    def batches(self, samples: Dataset, workers: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Every pass that is still to come, its number and this process's batch."""
        done = self.step_number * self.passes
        loader = loader_of(samples, done, self.args.batch_size, workers, self.accelerator)
        shown = self.accelerator.is_main_process
        self.progress = tqdm(total=self.args.steps, initial=self.step_number, disable=not shown)
        with self.asked.listening(), closing(self.progress):
            yield from enumerate(loader, start=done)

    def step(self, losses: dict[str, Tensor], size: float = 1.0) -> None:
        """What follows a pass's gradients: on the last pass of a step, the step itself, if every number is finite.

        ``losses`` are scalars.  What is logged is their mean over the passes and processes, and the gradient's norm
        over ``size``, the factor that the gradients were scaled by.
        """
        for name, loss in losses.items():
            self.heard[name] = self.heard.get(name, 0) + loss.detach().float() / self.passes
        if not self.accelerator.sync_gradients:
            return
        norm = self.accelerator.clip_grad_norm_(self.learners[0].parameters(), self.args.clip * size) / size
        said, finite = self._agreed(norm)
        self.step_number += 1
        if not finite:
            for optimizer in self.optimizers:  # without a gradient nothing moves, weight decay included
                optimizer.zero_grad(set_to_none=True)
        for optimizer in self.optimizers:  # in any case: it is how fp16 finds its scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        for rate in self.rates:
            rate.step()
        if self.average is not None and finite:
            self.average.update_parameters(self.accelerator.unwrap_model(self.learners[0]))
        self._tell(said, finite)

    def _agreed(self, norm: Tensor) -> tuple[dict[str, float], bool]:
        """The means over all processes, in one exchange: of the losses and the norm, and of what is asked for."""
        names, device = [*self.heard, "norm"], self.accelerator.device
        due = self.args.save_minutes and time.monotonic() - self.saved_at > 60 * self.args.save_minutes
        wishes = [float(self.asked.signal > 0), float(bool(due) and self.accelerator.is_main_process)]
        numbers = [torch.as_tensor(x, device=device).float() for x in (*self.heard.values(), norm)]
        everything = torch.stack(
            [*numbers, gradient_norm(self.optimizers).to(device), *torch.tensor(wishes).to(device)]
        )
        *means, whole, stop, due = self.accelerator.reduce(everything, "mean").tolist()
        self.stop, self.due, self.heard = stop > 0, due > 0, {}
        said = dict(zip(names, means, strict=True))
        return said, all(map(math.isfinite, (*means, whole)))

    def _tell(self, said: dict[str, float], finite: bool) -> None:
        """Log a step, and say where it moved nothing."""
        scaler = self.accelerator.scaler
        fault = self.skipped.count(said, finite, searching=scaler is not None and scaler.get_scale() >= 1)
        self.progress.update()
        self.progress.set_postfix({name: f"{value:.4f}" for name, value in said.items() if "norm" not in name})
        if fault:
            self.progress.write(f"step {self.step_number} {fault}")
        said = {name: value for name, value in said.items() if math.isfinite(value)}
        said |= {"lr": self.rates[0].get_last_lr()[0], "skipped": self.skipped.total}
        self.accelerator.log(said, step=self.step_number)

    def save_when_due(self, show: Show | None = None) -> None:
        """After a step: keep a state every so many steps or minutes, at the end, and when asked to stop.

        ``show`` is called where a sheet of ``--validation`` is due, on the first process.  Raises RunEnded when it was
        asked to stop.
        """
        if not self.accelerator.sync_gradients:
            return
        regular = self.step_number % self.args.save_every == 0 or self.step_number == self.args.steps
        if regular or self.stop or self.due:
            self._save()
        if self.stop and self.step_number < self.args.steps:
            self._end_early()
        if regular and show and self.args.validation and self.accelerator.is_main_process:
            self.numbers = show(self.step_number)
            self.accelerator.log(self.numbers, step=self.step_number)
            told = ", ".join(f"{name} {number:.3f}" for name, number in self.numbers.items())
            self.progress.write(f"step {self.step_number}: {told}")

    def _save(self) -> None:
        check_room(self.out, self.size, self.step_number)
        weights = [*learned(self.optimizers), *self.kept().parameters()]
        said = {"skipped": self.skipped.total, "in_a_row": self.skipped.in_a_row}
        save_for_resume(self.accelerator, self.out, self.step_number, weights, said)
        self.saved_at = time.monotonic()

    def _end_early(self) -> None:
        self.close()
        number = self.asked.signal or signal.SIGTERM  # another process may have been the one that was asked
        name = signal.Signals(number).name
        raise RunEnded(
            f"{name}: saved at step {self.step_number}; the same command goes on from there.", SIGNALLED + number
        )

    def kept(self) -> nn.Module:
        """The network whose weights are kept: the average of the first learner, or itself."""
        return self.average.module if self.average is not None else self.accelerator.unwrap_model(self.learners[0])

    def facts(self, show: Show | None = None, **own: object) -> dict[str, object]:
        """What the run's file says of its training: what the script knows, what was measured last, and the flags."""
        shows = show and self.args.validation and self.accelerator.is_main_process
        if shows and not self.numbers:  # its last step was taken before it was resumed
            self.numbers = show(self.step_number)
        own = {name: fact for name, fact in own.items() if fact is not None}
        return own | {"steps": self.args.steps, **self.numbers, "flags": self.record}

    def finish(self, facts: dict[str, object]) -> None:
        """After the file is written."""
        if self.accelerator.is_main_process:
            (self.out / "held_out.json").write_text(json.dumps(facts, indent=2))
        self.close()

    def close(self) -> None:
        """Let the folder and the processes go."""
        if self.accelerator.is_main_process:
            self.lock.release()
        self.accelerator.end_training()
