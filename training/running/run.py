"""The bookkeeping of a run, which all trainings share: its folder, its steps, its states and its end."""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from training.running.best import HeldOut, best_so_far, best_state, note_best
from training.running.disk import check_room, check_space, state_size
from training.running.finite import Skipped, gradient_norm, learned, move, moved
from training.running.flags import check_paths, workers_here
from training.running.lock import Lock
from training.running.means import Means
from training.running.optimisation import accelerator_of, averaged
from training.running.record import as_table, record_of, take_up
from training.running.resume import loader_of, resume, save_for_resume
from training.running.stopping import Asked

Encode = Callable[[dict[str, Tensor]], dict[str, Tensor]]


class Run:
    """A training from its flags to its end; the script keeps what it learns, and from what.

    ``needs`` are the flags that name what must be there.  Raises ValueError where it is not, where another run is at
    work in ``--out``, where a run there was begun with other flags, or where ``--keep best`` has nothing to go by.
    """

    def __init__(self, args: argparse.Namespace, script: str, needs: tuple[str, ...]):
        check_paths(args, needs)
        if args.keep == "best" and not args.validation:
            raise ValueError("--keep best needs --validation, the pictures that tell which state is the best.")
        args.workers = workers_here() if args.workers is None else args.workers
        self.args, self.script, self.out = args, script, Path(args.out)
        self.accelerator = accelerator_of(args)
        self.passes, processes = args.gradient_accumulation, self.accelerator.num_processes
        self.whole_batch = args.batch_size * processes * self.passes
        self.record = record_of(args, script, processes)
        if self.accelerator.is_main_process:
            self.lock = Lock(self.out)
            take_up(self.out, self.record)
        self.accelerator.wait_for_everyone()
        factors = f"{args.batch_size} x {processes} processes x {self.passes} passes"
        self.accelerator.print(f"a step sees {self.whole_batch} samples: {factors}")
        set_seed(args.seed)
        self.asked, self.skipped, self.means = Asked(), Skipped(), Means(self.accelerator, self.passes)
        self.numbers: dict[str, float] = {}

    def open(
        self,
        learners: list[nn.Module],
        optimizers: list[torch.optim.Optimizer],
        rates: list[torch.optim.lr_scheduler.LRScheduler],
        held_out: HeldOut | None = None,
    ) -> list[nn.Module]:
        """Share the learners among the processes and go on from the newest state; gives them as they are to be called.

        The first one is clipped, averaged (``--ema``) and kept.  ``held_out`` is looked at with ``--validation``.
        """
        self.average = averaged(learners[0], vars(self.args).get("ema", 0.0))
        prepared = self.accelerator.prepare(*learners, *optimizers)
        self.learners, self.optimizers = list(prepared[: len(learners)]), list(prepared[len(learners) :])
        self.rates = rates
        self.held_out = held_out if self.args.validation else None
        averages = [] if self.average is None else [self.average]
        self.accelerator.register_for_checkpointing(*rates, *averages)
        self.accelerator.init_trackers(self.script)
        self.size = state_size([*self.learners, *averages], moved(self.optimizers))
        self.accelerator.print(check_space(self.out, self.size, best=self.held_out is not None))
        self.step_number, said = resume(self.accelerator, self.out)
        self.skipped.total, self.skipped.in_a_row = said.get("skipped", 0), said.get("in_a_row", 0)
        self.saved_at = time.monotonic()
        if self.accelerator.is_main_process:
            self.accelerator.get_tracker("tensorboard", unwrap=True).add_text("flags", as_table(self.record))
        if self.step_number and self._is_regular():
            self._look()  # it may have been stopped before it came to that
        return self.learners

    def batches(self, samples: Dataset, encode: Encode | None = None) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Every pass that is still to come: its number and this process's batch, with what ``encode`` makes of it.

        A batch from a pool is encoded already.
        """
        done = self.step_number * self.passes
        if done >= self.args.steps * self.passes:
            return  # accelerate 1.0's loaders give None where nothing is left, and then fail
        loader = loader_of(samples, done, self.args, self.accelerator)
        shown = self.accelerator.is_main_process
        self.progress = tqdm(total=self.args.steps, initial=self.step_number, disable=not shown)
        with self.asked.listening(), closing(self.progress):
            for number, batch in enumerate(loader, start=done):
                yield number, batch if encode is None or "latent" in batch else batch | encode(batch)

    def step(self, losses: dict[str, Tensor], size: float = 1.0) -> None:
        """What follows a pass's gradients: on the last pass of a step, the step itself, if every number is finite.

        ``losses`` are scalars.  What is logged is their mean over the passes and processes, and the gradient's norm
        over ``size``, the factor that the gradients were scaled by.
        """
        self.means.add(losses)
        if not self.accelerator.sync_gradients:
            return
        norm = self.accelerator.clip_grad_norm_(self.learners[0].parameters(), self.args.clip * size) / size
        waited = time.monotonic() - self.saved_at > 60 * self.args.save_minutes > 0
        wishes = self.asked.signal > 0, waited and self.accelerator.is_main_process  # of any process
        said, (whole, stop, due) = self.means.take(norm, gradient_norm(self.optimizers), *map(float, wishes))
        self.stop, self.due, finite = stop > 0, due > 0, all(map(math.isfinite, (*said.values(), whole)))
        self.step_number += 1
        move(self.optimizers, finite)
        for rate in self.rates:
            rate.step()
        if self.average is not None and finite:
            self.average.update_parameters(self.accelerator.unwrap_model(self.learners[0]))
        self._tell(said, finite)

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

    def save_when_due(self) -> None:
        """After a step: keep a state every so many steps or minutes, at the end, and when asked to stop.

        Regular states are looked at on ``--validation``, by the first process.  Raises RunEnded when it was asked to
        stop.
        """
        if not self.accelerator.sync_gradients:
            return
        regular = self._is_regular()
        if regular or self.stop or self.due:
            self._save()
        if self.stop and self.step_number < self.args.steps:
            self.close()
            raise self.asked.ended(self.step_number)
        if regular:
            self._look()

    def _is_regular(self) -> bool:
        return self.step_number % self.args.save_every == 0 or self.step_number == self.args.steps

    def _look(self) -> None:
        """What the state of this step does on held-out pictures, and whether it is the best so far."""
        if self.held_out is None or not self.accelerator.is_main_process:
            return
        self.numbers = self.held_out.show(self.step_number)
        self.accelerator.log(self.numbers, step=self.step_number)
        best = note_best(self.out, self.held_out, self.args.validation, self.step_number, self.numbers)
        told = ", ".join(f"{name} {number:.3f}" for name, number in self.numbers.items())
        tqdm.write(f"step {self.step_number}: {told}" + (f"; the best so far by {self.held_out.by}" if best else ""))

    def _save(self) -> None:
        check_room(self.out, self.size, self.step_number)
        weights = [*learned(self.optimizers), *self.kept().parameters()]
        said = {"skipped": self.skipped.total, "in_a_row": self.skipped.in_a_row}
        save_for_resume(self.accelerator, self.out, self.step_number, weights, said)
        self.saved_at = time.monotonic()

    def kept(self) -> nn.Module:
        """The network whose weights are kept: the average of the first learner, or itself."""
        return self.average.module if self.average is not None else self.accelerator.unwrap_model(self.learners[0])

    def finish(self, write: Callable[[dict[str, object]], None], **own: object) -> None:
        """Let the first process ``write`` the file, with what it says of its training, and end.

        That is what the script knows (``own``), what was measured of the weights, the best state and the flags.
        """
        self.accelerator.wait_for_everyone()
        if self.args.keep == "best":
            slot, best = best_state(self.out)
            self.accelerator.load_state(str(slot))
            self.numbers = best["numbers"]
        if self.accelerator.is_main_process:
            facts = {name: fact for name, fact in own.items() if fact is not None}
            facts |= {"steps": self.args.steps, **self.numbers, "flags": self.record}
            if best := best_so_far(self.out):
                facts["best"] = {"step": best["step"], best["by"]: best["value"]}
            write(facts)
            (self.out / "held_out.json").write_text(json.dumps(facts, indent=2))
        self.close()

    def close(self) -> None:
        """Let the folder and the processes go."""
        if self.accelerator.is_main_process:
            self.lock.release()
        self.accelerator.end_training()
