"""What was found for single pictures, on disk as soon as it is there, so that a stopped run goes on where it stopped.

A number is kept under the metric that made it and the files that it was made from, told by size and time.
"""

import json
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np


class Cache:
    """A table of keys and numbers.  A disk that is full is told once, and what follows is kept in memory."""

    def __init__(self, path: Path, tell: Callable[[str], None]):
        self.path, self.tell, self.beside = path, tell, {}
        try:
            self.table = opened(path)
        except sqlite3.OperationalError as err:
            self.tell_full(err)
            self.table = opened(":memory:")
        except sqlite3.DatabaseError as err:
            raise OSError(f"{path} is no table of scores ({err}): move it away and start again.") from err

    def tell_full(self, err: sqlite3.OperationalError) -> None:
        self.tell(f"{self.path} cannot be written ({err}): make room. The run goes on without it.")

    def get(self, key: str) -> dict | np.ndarray | None:
        """What was kept: numbers by name, or features; None where there is nothing."""
        if key in self.beside:
            return self.beside[key]
        row = self.table.execute("SELECT value FROM found WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        return json.loads(row[0]) if isinstance(row[0], str) else np.frombuffer(row[0], dtype=np.float32)

    def put(self, key: str, value: dict | np.ndarray) -> None:
        stored = value.astype(np.float32).tobytes() if isinstance(value, np.ndarray) else json.dumps(value)
        try:
            self.table.execute("INSERT OR REPLACE INTO found VALUES (?, ?)", (key, stored))
        except sqlite3.OperationalError as err:
            if not self.beside:
                self.tell_full(err)
            self.beside[key] = value

    def close(self) -> None:
        self.table.close()


def opened(path: Path | str) -> sqlite3.Connection:
    table = sqlite3.connect(path, isolation_level=None)
    table.execute("PRAGMA journal_mode = WAL")
    table.execute("PRAGMA synchronous = OFF")  # a killed run loses nothing; a power cut may lose some
    table.execute("CREATE TABLE IF NOT EXISTS found (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
    return table


def key_of(identity: str, *files: Path | None) -> str:
    """One metric of these files as they are now.  Raises OSError for a file that is not there."""
    stamps = [file and [str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return sha256(json.dumps([identity, *stamps]).encode()).hexdigest()
