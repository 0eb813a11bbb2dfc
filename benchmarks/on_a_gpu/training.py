"""One step of each training on a card: its seconds, its memory, and what the Memory table's way of counting says."""

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.live_memory import lay_out
from benchmarks.on_a_gpu.book import GB, Book
from benchmarks.on_a_gpu.networks import config_of

if TYPE_CHECKING:
    from benchmarks.passes import Training

STAGES = ("EraDiff", "YOEO, stage 1", "YOEO, stage 2", "YOEO, stage 3")
BATCHES, SMALL_BATCHES = (1, 7), (2,)
STD = 0.02  # of weights that nobody trained


def training(book: Book) -> None:
    """Passes of two sizes, with checkpointing and without, each with the optimizer's step; then all of it counted."""
    for ways in (("full", "no"), ("selective",)):  # what a section has no time for is at its end
        for stage, way in product(STAGES, ways):
            for batch in SMALL_BATCHES if book.setting.small else BATCHES:
                at = (book, stage, batch, way)
                book.enter(f"{stage}, batch of {batch}, checkpointing {way}", lambda at=at: one_step(*at))
    for stage in STAGES:
        book.enter(f"{stage}, counted", lambda stage=stage: counted(book, stage))


def one_step(book: Book, stage: str, batch: int, way: str) -> dict:
    """A pass with gradients there from a pass before, and AdamW's step, measured apart."""
    made = made_for(book, stage, book.setting.device, torch.float32 if book.setting.small else torch.bfloat16)
    with torch.device(book.setting.device):
        for network in (*made.learners, *made.frozen):
            draw_weights(lay_out(network))
        made.checkpoint(way)
        moved = [weight for part in made.learners for weight in part.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(moved, lr=1e-6, fused=True)
        made.one_pass(batch)
        optimizer.step()
        return steps_of(book, lambda: made.one_pass(batch), optimizer.step)


def made_for(book: Book, stage: str, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> "Training":
    """The stage's networks, on no device yet, for pictures on this one."""
    from benchmarks.passes import RUNS  # the scripts' own terms, which need their libraries; its tables are the CPU's

    config = config_of(book.setting)
    more = {"judged_at": config.resolution} if book.setting.small and stage == STAGES[-1] else {}
    with device:
        return RUNS[stage](config, config.resolution, dtype=dtype, **more)


def steps_of(book: Book, one_pass: Callable[[], None], step: Callable[[], None]) -> dict:
    found = {"pass, peak GB": book.peak_gb(one_pass), "step, peak GB": book.peak_gb(step)}
    return found | {"pass, seconds": book.timed(one_pass), "step, seconds": book.timed(step)}


@torch.no_grad()
def draw_weights(network: nn.Module) -> None:
    """Numbers that stay finite: a card is quicker with zeros, and empty memory may hold anything."""
    for weight in network.parameters():
        weight.normal_(0, STD)
    for buffer in network.buffers():
        buffer.fill_(1)


def counted(book: Book, stage: str) -> dict:
    """GB by the Memory table's count, under the names of what is measured."""
    from benchmarks.passes import CHECKPOINTING
    from benchmarks.training_memory import needs_of

    ways, batches = (CHECKPOINTING[-1:], SMALL_BATCHES) if book.setting.small else (CHECKPOINTING, BATCHES)
    needs = needs_of(made_for(book, stage, torch.device("cpu")), ways, batches)
    found = {"step, peak GB": needs[ways[0]].step / GB}
    for way, need in needs.items():
        found |= {f"batch of {batch}, checkpointing {way}, GB": held / GB for batch, held in need.passes.items()}
    return found
