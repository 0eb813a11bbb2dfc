"""The repository's own virtual environment: made once, filled again only when what it must hold has changed.

Standard library only: this runs before anything is installed.
"""

import os
import sys
import time
import venv
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from subprocess import run

from workflows import comfyui

PINS = Path("tests") / "requirements.txt"
FROM_PINS = ("torch", "torchvision")  # ComfyUI asks for any version; PINS names ours, and pip finds all else to fit


def set_up(root: Path) -> tuple[Path, Path]:
    """The Python of ``root/.venv``, holding all that ``./demo`` and ``./test`` need, and a ComfyUI's folder."""
    if sys.version_info < (3, 10):  # noqa: UP036  (said before an older Python stumbles over the rest)
        raise SystemExit(f"Erase Once needs Python 3.10 or newer, got {sys.version.split()[0]} ({sys.executable}).")
    python = make(root / ".venv")
    folder = Path(os.environ.get("COMFYUI_PATH", root / ".comfyui")).resolve()
    if "COMFYUI_PATH" not in os.environ and not folder.exists():
        with timed(f"Fetching ComfyUI into {folder.name}"):
            comfyui.fetch(folder, python)
    fill(python, root / PINS, comfyui.requirements(folder, without=FROM_PINS))
    return python, folder


def enter(root: Path) -> Path:
    """Goes on in the environment, starting the running script again where it is not in it; ComfyUI's folder."""
    python, folder = set_up(root)
    if Path(sys.prefix).resolve() != (root / ".venv").resolve():
        os.execve(python, [str(python), *sys.argv], {**os.environ, "COMFYUI_PATH": str(folder)})
    return folder


def make(folder: Path) -> Path:
    """The Python of the virtual environment in ``folder``, which is created where it is missing."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        with timed(f"Making a virtual environment in {folder.name}"):
            venv.create(folder, with_pip=True)
    return python


def fill(python: Path, pins: Path, lines: list[str]) -> None:
    """Installs the pins and the requirement lines together, unless the same ones went in last time."""
    wanted = sha256("\n".join([pins.read_text(), *lines]).encode()).hexdigest()
    stamp, more = python.parent.parent / "installed.sha256", python.parent.parent / "comfyui-requirements.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    more.write_text("\n".join(lines) + "\n")
    with timed("Installing torch, ComfyUI's requirements and ours (about 3 GB, the first time only)"):
        pip = [python, "-m", "pip", "-q", "--disable-pip-version-check"]
        run([*pip, "install", "-r", pins, "-r", more], check=True)
    stamp.write_text(wanted)


@contextmanager
def timed(what: str):
    """Says what is being done, and how long it took once it is done."""
    print(f"{what} ...", flush=True)
    start = time.monotonic()
    yield
    print(f"  done in {time.monotonic() - start:.1f} s", flush=True)
