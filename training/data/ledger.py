"""What became of each picture of a folder: a csv, one row a picture, that a killed run continues."""

import csv
import io
from pathlib import Path

COLUMNS = ("picture", "status", "reason")
TEXT = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}  # file names may be any bytes

Rows = dict[str, tuple[str, ...]]  # picture -> what stands in the other columns


class Ledger:
    """One row a picture, in the file as soon as it is added.  A row that a killed run left half-written is dropped.

    ``columns`` are the table's, the picture first; a picture's later row takes the place of its earlier one.
    Raises ValueError for a file with other columns.
    """

    def __init__(self, path: str | Path, columns: tuple[str, ...] = COLUMNS):
        self.path, self.columns = Path(path), columns
        self.rows = read_rows(self.path, columns)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.tidy()

    def add(self, picture: str, *row: str) -> None:
        """A picture's row; what is not given, at its end, stays empty."""
        row += ("",) * (len(self.columns) - 1 - len(row))
        self.rows[picture] = row
        with open(self.path, "a", **TEXT) as file:
            file.write(as_line((picture, *row)))

    def tidy(self) -> None:
        """Write the file anew with one row a picture."""
        scratch = self.path.with_suffix(".tmp")
        lines = [as_line(self.columns), *(as_line((picture, *row)) for picture, row in self.rows.items())]
        scratch.write_text("".join(lines), **TEXT)
        scratch.replace(self.path)


def read_rows(path: str | Path, columns: tuple[str, ...] = COLUMNS) -> Rows:
    """The whole rows of a ledger's file; none where there is no file yet."""
    if not Path(path).exists():
        return {}
    with open(path, **TEXT) as file:
        text = file.read()
    if not text.startswith(as_line(columns)):
        raise ValueError(f"a list of pictures must have the columns {', '.join(columns)}, got {path} without.")
    return parse_rows(text, columns)


def parse_rows(text: str, columns: tuple[str, ...] = COLUMNS) -> Rows:
    """The whole rows of a piece of a ledger's text, its head left out."""
    rows = csv.reader(text.split("\n")[:-1])
    return {picture: tuple(row) for picture, *row in rows if (picture, *row) != columns}


def as_line(values: tuple[str, ...]) -> str:
    """One line of csv, whatever the values hold: a line break inside one becomes a space."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([" ".join(value.split("\n")) for value in values])
    return line.getvalue()
