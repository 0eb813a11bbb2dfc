"""OBER (ObjectClear): its test sets, three in one Parquet file whose rows hold the pictures' own files."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from evaluation.items import Item, Items, Refusal

COLUMNS = {"input": "picture", "gt": "truth", "object_mask": "mask", "object_effect_mask": "effect"}
WITHOUT_TRUTH = ("OBER-Wild",)


def ober(subset: str, folder: Path, seed: int) -> Items:
    """``data/test-*.parquet``, the rows of one subset: OBER-Test, OBER-Wild (which has no truth) or RORD-Val-343.

    A row's ``input``, ``gt``, ``object_mask`` and ``object_effect_mask`` have the ``bytes`` and the ``path`` of a file.
    """
    shards = sorted((folder / "data").glob("test-*.parquet"))
    if not shards:
        raise FileNotFoundError(f"there is no test-*.parquet in {folder / 'data'}.")
    needed = {"picture", "mask"} if subset in WITHOUT_TRUTH else {"picture", "mask", "truth"}
    names: set[str] = set()
    for number, row in enumerate(rows_of(shards, subset)):
        files = {kind: row[column] for column, kind in COLUMNS.items() if row[column] and row[column]["bytes"]}
        name = PurePosixPath(files["picture"]["path"]).stem if "picture" in files else f"row {number} of {subset}"
        lacking = sorted(needed - files.keys())
        if lacking or name in names:
            yield Refusal(name, f"it has no {lacking[0]}" if lacking else "its name is there more than once")
            continue
        names.add(name)
        with TemporaryDirectory() as made:
            yield Item(name, **{kind: written(file, Path(made), kind) for kind, file in files.items()})


def rows_of(shards: list[Path], subset: str) -> Iterator[dict]:
    """The rows of a subset, a few at a time: a file is large.  Raises ValueError where pyarrow is missing."""
    try:
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as err:
        raise ValueError("OBER comes as Parquet, which needs pyarrow. Get it: pip install pyarrow") from err
    for shard in shards:
        with ParquetFile(shard) as file:
            for batch in file.iter_batches(batch_size=8, columns=[*COLUMNS, "subset"]):
                yield from (row for row in batch.to_pylist() if row["subset"] == subset)


def written(file: dict, folder: Path, kind: str) -> Path:
    path = folder / f"{kind}{PurePosixPath(file['path']).suffix}"
    path.write_bytes(file["bytes"])
    return path
