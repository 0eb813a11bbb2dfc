"""The table of a folder's erasing, ``erased.csv``: what was done, and what a later run may skip or write over.

A picture has a row before its result is written and another one after, so that a killed run's files are known as its
own.
"""

import os
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from training.data.ledger import Ledger
from training.erasing.pairs import TABLE, Pair

WRITING, ERASED, NOTHING, FAILED = "writing", "erased", "nothing to erase", "failed"


@dataclass(frozen=True)
class Row:
    """What became of a picture, ``says`` in words, and ``verdict`` what the detector still saw.

    ``settings`` are the flags that shape a result; ``inputs`` and ``output`` tell the files by size and time
    (``inputs_of``, ``stamp``), the latter empty where no result of this script lies.
    """

    mask: str = ""
    result: str = ""
    status: str = WRITING
    crops: str = ""
    sizes: str = ""
    seconds: str = ""
    verdict: str = ""
    says: str = ""
    settings: str = ""
    inputs: str = ""
    output: str = ""


COLUMNS = ("picture", *(field.name for field in fields(Row)))


class Table:
    """The rows of one folder of results; a picture is told by its path from that folder.

    Raises ValueError for an ``erased.csv`` that is not this script's.
    """

    def __init__(self, out: Path, settings: str):
        self.out, self.settings = out.resolve(), settings
        self.ledger = Ledger(out / TABLE, COLUMNS)

    def row_of(self, pair: Pair) -> Row | None:
        row = self.ledger.rows.get(self.seen_from_here(pair.picture))
        return Row(*row) if row is not None else None

    def is_done(self, pair: Pair) -> bool:
        """Whether the result of these settings and of the picture and the mask as they are now is there."""
        row = self.row_of(pair)
        done = row is not None and row.status in (ERASED, NOTHING) and pair.target.exists()
        return done and (row.settings, row.mask, row.inputs) == (self.settings, self.mask_of(pair), inputs_of(pair))

    def may_write(self, pair: Pair) -> bool:
        """Whether nothing would be lost: there is no file, or it is this script's and was not changed since."""
        if not os.path.lexists(pair.target):
            return True
        row = self.row_of(pair)
        return row is not None and (row.status == WRITING or row.output == stamp(pair.target))

    def write(self, pair: Pair, row: Row) -> None:
        """Add a row.  A result of an earlier run stays this script's where the picture failed now."""
        has_result = row.status in (ERASED, NOTHING) or (pair.target.is_file() and self.may_write(pair))
        row = replace(
            row,
            mask=self.mask_of(pair),
            result=pair.name if has_result else "",
            settings=self.settings,
            output=stamp(pair.target) if has_result else "",
        )
        self.ledger.add(self.seen_from_here(pair.picture), *astuple(row))

    def mask_of(self, pair: Pair) -> str:
        return self.seen_from_here(pair.mask) if pair.mask is not None else ""

    def seen_from_here(self, path: Path) -> str:
        """A path from the folder of results, so that photographs, masks and results can be moved together.

        On one line, as a ledger keeps it.
        """
        return Path(os.path.relpath(path, self.out)).as_posix().replace("\n", " ")


def inputs_of(pair: Pair) -> str:
    return " ".join(stamp(path) for path in (pair.picture, pair.mask) if path is not None)


def stamp(path: Path) -> str:
    """What changes when a file does: its size in bytes and its time in nanoseconds; of a folder, all that is in it."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    facts = [file.stat() for file in files if file.is_file()]
    return f"{sum(fact.st_size for fact in facts)}-{max(fact.st_mtime_ns for fact in facts)}" if facts else "none"
