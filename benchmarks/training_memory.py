"""What each training asks of a graphics card, counted operation by operation on fake tensors.

    python -m benchmarks.training_memory                                          # every script, SD1.5, SD2, SDXL
    python -m benchmarks.training_memory --base SD1.5 --only "YOEO, stage 3" --side 256

Counted is the most that tensors hold at once in bf16: weights, gradients, AdamW's moments and what its step works in,
the half-precision copies that autocast makes of weights, what autograd keeps, and the block that checkpointing computes
again.  Gradients are there from a pass before, as with ``--gradient-accumulation``.  Not counted: what a kernel works
in, the allocator's losses, CUDA's own 0.5 GB; a tenth of the card is left for them.  Of several cards each keeps
another copy of the gradients, the buckets in which they are exchanged: the batch that fits then is in brackets.  What
``--adam-8bit`` spares is known by its moments' sizes.
"""

import argparse
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.live_memory import LiveMemory, counted_as_on_a_card, lay_out
from benchmarks.passes import CHECKPOINTING, RUNS, Training
from inpainting_core.architecture import SD2_INPAINT, SD15_INPAINT, SDXL_INPAINT
from training.running.optimisation import ADAM

GB = 1e9
BASES = {"SD1.5": (SD15_INPAINT, 512), "SD2": (SD2_INPAINT, 512), "SDXL": (SDXL_INPAINT, 1024)}
CARDS, CARDS_8BIT, LEFT_FREE = (24, 80), (16, 24, 80), 0.1
BATCHES = (1, 8, 16)  # counted; between them a pass's peak, which is a largest of straight lines, lies below the chord


@dataclass(frozen=True)
class Need:
    """Bytes of a training: at its ``step``, in a ``passes[batch]``, and of the ``buckets`` of several cards.

    ``spared`` are those that ``--adam-8bit`` takes off.
    """

    step: int
    passes: dict[int, int]
    buckets: int
    spared: int = 0

    def with_8bit(self) -> "Need":
        """The same under ``--adam-8bit``."""
        passes = {batch: most - self.spared for batch, most in self.passes.items()}
        return Need(self.step - self.spared, passes, self.buckets)

    @property
    def sample(self) -> float:
        """What one sample more adds."""
        *_, less, more = BATCHES
        return (self.passes[more] - self.passes[less]) / (more - less)

    def batch(self, card_gb: int, several: bool = False) -> int:
        """The largest batch that such a card takes, or each of several; 0 where none fits."""
        room = (1 - LEFT_FREE) * card_gb * GB - several * self.buckets
        if max(self.step, self.passes[1]) > room:
            return 0
        few, more, _ = BATCHES
        if self.passes[more] <= room:
            return int(more + (room - self.passes[more]) / self.sample)
        return int(few + (more - few) * (room - self.passes[few]) / (self.passes[more] - self.passes[few]))


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", choices=BASES, nargs="+", default=list(BASES), help="(all)")
    parser.add_argument("--only", choices=RUNS, nargs="+", default=list(RUNS), help="(all)")
    parser.add_argument("--side", type=int, help="of a training picture in px; left out: the base's own")
    parser.add_argument("--checkpointing", choices=CHECKPOINTING, nargs="+", default=CHECKPOINTING, help="(all)")
    return parser.parse_args(argv)


def spared(weights: Iterable[Tensor]) -> int:
    """Bytes that ``--adam-8bit`` spares: two moments of 4 bytes become 1, with two scales of 4 bytes for 256 numbers.

    Weights of less than 4,096 numbers keep theirs.
    """
    return sum(6 * weight.numel() - 8 * math.ceil(weight.numel() / 256) for weight in weights if weight.numel() >= 4096)


def needs_of(training: Training, ways: Iterable[str], batches: tuple[int, ...] = BATCHES) -> dict[str, Need]:
    """What a training needs for passes of so many samples, by each of these ``CHECKPOINTING``."""
    with counted_as_on_a_card() as held:
        for network in (*training.learners, *training.frozen):
            lay_out(network)
        moved = [weight for part in training.learners for weight in part.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(moved, **ADAM)
        training.one_pass(1)
        held.most_since()
        optimizer.step()
        step, buckets = held.most_since(), sum(weight.grad.nbytes for weight in moved)
        return {way: Need(step, passes_of(training, held, way, batches), buckets, spared(moved)) for way in ways}


def passes_of(training: Training, held: LiveMemory, way: str, batches: tuple[int, ...]) -> dict[int, int]:
    """The most that is held in a pass of each size, the gradients of another there already."""
    training.checkpoint(way)
    passes = {}
    for batch in batches:
        held.most_since()
        training.one_pass(batch)
        passes[batch] = held.most_since()
    return passes


def fitting(need: Need, card: int) -> str:
    """The largest batch on one such card, and on each of several."""
    return f"{need.batch(card)} ({need.batch(card, several=True)})"


def main(args: argparse.Namespace) -> None:
    columns = ["base", "run", "checkpointing", "step", "pass of 1", "of 8", "a sample more", "buckets"]
    columns += [f"batch on {card} GB" for card in CARDS] + [f"8-bit, {card} GB" for card in CARDS_8BIT]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for base in args.base:
        config, side = BASES[base]
        for name in args.only:
            training = RUNS[name](config, args.side or side)
            for way, need in needs_of(training, args.checkpointing).items():
                sizes = [need.step, *list(need.passes.values())[:2], need.sample, need.buckets]
                fits = [fitting(need, card) for card in CARDS]
                fits += [fitting(need.with_8bit(), card) for card in CARDS_8BIT]
                cells = [base, name, way, *[f"{size / GB:.2f}" for size in sizes], *fits]
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(parse_args())
