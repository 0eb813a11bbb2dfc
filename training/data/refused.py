"""Which pictures the ``prepare_`` scripts have refused: their tables, wherever they lie above or below a folder."""

from pathlib import Path, PurePosixPath

from training.data.ledger import Rows, read_rows

ENTITIES, MATTES = "entities.csv", "mattes.csv"
DONE, REFUSED = "done", "refused"
FOR_ALL = ("unreadable: ", "too small: ")  # reasons that are no matter of entities or mattes


def rows_of(folder: str | Path, table: str, files: set[str] | None = None) -> Rows:
    """What the tables of this name say of the pictures below a folder, by their names relative to it.

    A table lies in the folder that its script was given: this one, one below (``files`` names all files there), or one
    above.
    """
    folder, rows = Path(folder), {}
    for above in reversed(folder.resolve().parents):
        if (above / table).is_file():
            start = folder.resolve().relative_to(above).as_posix() + "/"
            found = read_rows(above / table)
            rows |= {name.removeprefix(start): row for name, row in found.items() if name.startswith(start)}
    for name in sorted(files or {table}):
        if PurePosixPath(name).name == table:
            start = "" if name == table else name.removesuffix(table)
            rows |= {start + picture: row for picture, row in read_rows(folder / name).items()}
    return rows


def refused_pictures(folder: str | Path, own: str | None, files: set[str]) -> dict[str, str]:
    """The pictures to leave out with the reason for each: all that the table ``own`` refuses, and what none can use."""
    refused = {}
    for table in (MATTES, ENTITIES):
        for name, (status, reason) in rows_of(folder, table, files).items():
            if status == REFUSED and (table == own or reason.startswith(FOR_ALL)):
                refused[name] = reason
    return refused
