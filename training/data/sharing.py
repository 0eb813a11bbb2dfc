"""Work that several processes share, on one machine or on several that see one folder, whenever each was started.

A process takes a piece by a lock on a file, which the system lets go when the process dies.  So nothing is done twice,
and what a process leaves undone another one finds.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from training.data.ledger import COLUMNS, Ledger, Rows, as_line, parse_rows
from training.data.refused import DONE, REFUSED

PIECE = 64  # pictures


def pieces(count: int, locks: Path) -> Iterator[int]:
    """Every piece that no other process has at work; then each again, after whoever has it.

    Who is through may know that all is done.  ``locks`` is a folder for the lock files.
    """
    locks.mkdir(parents=True, exist_ok=True)
    for patience in (0, -1):  # seconds; -1: without end
        for number in range(count):
            lock = FileLock(locks / f"{number:06d}.lock", timeout=patience)
            try:
                lock.acquire()
            except Timeout:
                continue
            except FileNotFoundError:  # the folder: another process is through
                return
            try:
                yield number
            finally:
                lock.release()
    shutil.rmtree(locks, ignore_errors=True)


class SharedLedger:
    """A ``Ledger`` that several processes add to at once; ``rows`` are those that this one has taken in."""

    def __init__(self, path: Path):
        self.path, self.lock, self.rows = path, FileLock(f"{path}.lock"), Rows()
        self.file = self.place = 0
        with self.lock:
            Ledger(path)  # makes the file, or drops what a killed run left half-written
        self.take_in()

    def add(self, picture: str, status: str, reason: str) -> None:
        with self.lock:
            self._read()
            with open(self.path, "ab") as file:
                file.write(as_line((picture, status, reason)).encode(errors="surrogateescape"))

    def take_in(self) -> None:
        """Read what has been added since."""
        with self.lock:
            self._read()

    def _read(self) -> None:
        with open(self.path, "rb+") as file:
            if (inode := os.fstat(file.fileno()).st_ino) != self.file:  # another process has written it anew
                self.file, self.place = inode, 0
            file.seek(self.place)
            added = file.read()
            whole = added[: added.rfind(b"\n") + 1]
            if len(whole) < len(added):  # of a process that was killed over it
                file.truncate(self.place + len(whole))
            self.place += len(whole)
        self.rows |= parse_rows(whole.decode(errors="surrogateescape"), COLUMNS)


def share_out(names: list[str], table: Path, prepare: Callable[[list[str]], Iterable[tuple[str, str]]]) -> Counter[str]:
    """Prepare every picture that the table does not name yet, and add its row: done, or why it is refused.

    ``prepare`` gives each of some pictures as soon as it is done, with the reason, empty for one that is not refused.
    Gives how many rows of each status there are in the end.
    """
    ledger = SharedLedger(table)
    progress = tqdm(total=len(names), initial=len(ledger.rows), disable=not is_first())
    for piece in pieces(-(-len(names) // PIECE), table.with_suffix(".locks")):
        ledger.take_in()
        progress.update(len(ledger.rows) - progress.n)
        left = [name for name in names[piece * PIECE : (piece + 1) * PIECE] if name not in ledger.rows]
        for name, reason in prepare(left):
            ledger.add(name, REFUSED if reason else DONE, reason)
            if reason:
                tqdm.write(f"{name}: {reason}")
            progress.update()
    ledger.take_in()
    return Counter(status for status, _ in ledger.rows.values())


def is_first() -> bool:
    """Whether this is the only process, or the first of those that a launcher started together."""
    return os.environ.get("RANK", "0") == "0"


def own_device(device: str) -> str:
    """Where this process works: ``cuda`` is a card of its own for each of those that a launcher started together."""
    rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{rank}" if device == "cuda" and rank else device


def agree(noted: Path, facts: dict, rule: str, remedy: str) -> None:
    """Note what something is made of, or hold these facts against what was noted before.

    Raises ValueError, with ``rule`` before every difference and ``remedy`` after them.
    """
    facts = json.loads(json.dumps(facts))
    if not noted.exists():
        noted.parent.mkdir(parents=True, exist_ok=True)
        noted.with_suffix(".tmp").write_text(json.dumps(facts, indent=1))
        noted.with_suffix(".tmp").replace(noted)
    made_of = json.loads(noted.read_text())
    changed = [key for key in sorted(facts.keys() | made_of.keys()) if facts.get(key) != made_of.get(key)]
    if changed:
        differences = ", ".join(f"{key} {made_of.get(key)} (now {facts.get(key)})" for key in changed)
        raise ValueError(f"{rule}: {differences}. {remedy}")
