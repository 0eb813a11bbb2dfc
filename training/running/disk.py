"""What a run's states take on the disk, said before the first one is due."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor, nn

from training.running.endings import RunEnded
from training.running.resume import KEPT

GB = 1e9


def state_size(networks: Iterable[nn.Module], moved: Iterable[Tensor]) -> int:
    """Bytes of a state: the networks, and Adam's two moments of every weight that is ``moved``."""
    weights = [weight for network in networks for weight in network.state_dict().values()]
    return sum(map(_bytes, weights)) + 2 * sum(map(_bytes, moved))


def check_space(out: Path, size: int, best: bool) -> str:
    """How much the states of this size will take, the ``best`` one among them, in words.

    Raises ValueError where there is no room for them.
    """
    there = sum(path.stat().st_size for path in (out / "states").rglob("*") if path.is_file())
    whole, free = (KEPT + 1 + best) * size, shutil.disk_usage(out).free  # the one before goes after the next is written
    words = f"a state takes {size / GB:.2f} GB; up to {whole / GB:.2f} GB of them in {out}"
    if whole - there > free:
        raise ValueError(f"{words}, where {free / GB:.2f} GB are free: make room, or give --out on another disk.")
    return f"{words}, where {free / GB:.2f} GB are free"


def check_room(out: Path, size: int, step: int) -> None:
    """Before a state is written; raises RunEnded where it would not fit, so that none is left half written."""
    free = shutil.disk_usage(out).free
    if free < size:
        raise RunEnded(
            f"step {step} is not saved: a state takes {size / GB:.2f} GB and {free / GB:.2f} GB are free in {out}. "
            "Make room and start the same command again; it goes on from the last state."
        )


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
