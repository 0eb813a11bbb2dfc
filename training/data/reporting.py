"""What a person is told of the pictures: once, whichever of a run's processes finds it."""

from pathlib import Path

import torch
from filelock import FileLock

from training.data.ledger import Ledger

COLUMNS = ("picture", "reason")


def tell(text: str) -> None:
    """Print a line, in the first of a run's processes alone."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not distributed or torch.distributed.get_rank() == 0:
        print(text, flush=True)


class LeftOut:
    """Pictures that turn out bad while a run reads them: each is named once, and counted.

    ``path`` is a csv that all processes of a run share, and that a resumed run goes on with; None: nothing is kept.
    """

    def __init__(self, path: Path | None = None):
        self.path, self.known = path, set()

    def add(self, picture: str, reason: str) -> None:
        if picture in self.known:
            return
        self.known.add(picture)
        if self.path is None:
            print(f"left out {picture}: {reason}", flush=True)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            ledger = Ledger(self.path, COLUMNS)
            if picture in ledger.rows:
                return
            ledger.add(picture, reason)
        print(f"left out {picture}: {reason} ({len(ledger.rows)} in this run: {self.path})", flush=True)
