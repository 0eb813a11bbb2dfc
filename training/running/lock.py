"""One run a folder: a file that says which process on which machine writes there."""

import atexit
import json
import os
import socket
import threading
import time
from pathlib import Path

import psutil
from filelock import FileLock

BEAT = 30  # seconds between two signs of life, which a process on another machine is known by
SILENCE = 10 * BEAT  # after which it counts as gone
NOBODY = {"pid": 0, "host": socket.gethostname(), "started": 0}  # no process that trains has this number


class Lock:
    """Held from its making until ``release``, or until the process is gone.

    Raises ValueError where another run holds it.  Whoever died with it is named in a line, and it is taken over.
    """

    def __init__(self, folder: Path):
        self.path, self.me = folder / "lock.json", _this_process()
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock.guard"):  # two that find a dead owner at once would both take over
            if self.path.exists():
                self._take_over()
            self._write()
        self.released = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()
        atexit.register(self.release)

    def release(self) -> None:
        if not self.released.is_set():
            self.released.set()
            self.path.unlink(missing_ok=True)

    def _take_over(self) -> None:
        """Raise ValueError where the owner lives."""
        owner = self._owner()
        named = f"process {owner['pid']} on {owner['host']}"
        if owner != self.me and _lives(owner, self.path):
            raise ValueError(
                f"{self.path.parent} is in use by {named}: stop that run, give another --out, "
                f"or delete {self.path} if you know that it is gone."
            )
        if owner != self.me:
            print(f"{self.path.parent} was left by {named}, which is gone; taking it over.")

    def _owner(self) -> dict[str, int | str | float]:
        """Who holds it; nobody where that cannot be read, for it is written whole."""
        try:
            return json.loads(self.path.read_text())
        except ValueError:
            return NOBODY

    def _write(self) -> None:
        scratch = self.path.with_suffix(".tmp")
        scratch.write_text(json.dumps(self.me))
        scratch.replace(self.path)

    def _beat(self) -> None:
        while not self.released.wait(BEAT):
            if self.path.exists():
                os.utime(self.path)


def _this_process() -> dict[str, int | str | float]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": psutil.Process().create_time()}


def _lives(owner: dict[str, int | str | float], path: Path) -> bool:
    """On this machine the process itself is looked for, and its start: a number is given again after a reboot."""
    if owner["host"] != socket.gethostname():
        return time.time() - path.stat().st_mtime < SILENCE
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) < 2
    except psutil.NoSuchProcess:
        return False
