"""What became of each picture of a folder: a csv (picture, status, reason) that a killed run continues."""

import csv
import io
from pathlib import Path

COLUMNS = ("picture", "status", "reason")
TEXT = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}  # file names may be any bytes

Rows = dict[str, tuple[str, str]]  # picture -> (status, reason)


class Ledger:
    """One row a picture, in the file as soon as it is added.  A row that a killed run left half-written is dropped.

    Raises ValueError for a file with other columns.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.rows = read_rows(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(".tmp")
        lines = [as_line(COLUMNS), *(as_line((picture, *row)) for picture, row in self.rows.items())]
        scratch.write_text("".join(lines), **TEXT)
        scratch.replace(self.path)

    def add(self, picture: str, status: str, reason: str = "") -> None:
        self.rows[picture] = (status, reason)
        with open(self.path, "a", **TEXT) as file:
            file.write(as_line((picture, status, reason)))


def read_rows(path: str | Path) -> Rows:
    """The whole rows of a ledger's file; none where there is no file yet."""
    if not Path(path).exists():
        return {}
    with open(path, **TEXT) as file:
        rows = list(csv.reader(file.read().split("\n")[:-1]))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise ValueError(f"a list of pictures must have the columns {', '.join(COLUMNS)}, got {path} without.")
    return {picture: (status, reason) for picture, status, reason in rows[1:]}


def as_line(values: tuple[str, ...]) -> str:
    """One line of csv, whatever the values hold: a line break inside one becomes a space."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([" ".join(value.split("\n")) for value in values])
    return line.getvalue()
