"""What the pack could do to a machine: read from its code, and watched while it runs."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from in_comfyui import nodes

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("nodes", "inpainting_core", "eradiff_core", "yoeo_core")
CODE = [ROOT / "__init__.py", *(path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))]

# Modules that reach another program, another machine or code that is data; where one may stand all the same.
OUT_OF_BOUNDS = {
    *("subprocess", "multiprocessing", "pty", "ctypes", "cffi", "runpy", "code", "importlib", "imp", "pkgutil"),
    *("socket", "ssl", "urllib", "http", "ftplib", "smtplib", "telnetlib", "webbrowser", "asyncio", "requests"),
    *("httpx", "aiohttp", "websockets", "huggingface_hub", "pickle", "marshal", "shelve", "dill", "joblib", "pip"),
}
ALLOWED = {("__init__.py", "importlib"), ("inpainting_core/pickles.py", "pickle")}
CALLS = {
    *("eval", "exec", "compile", "__import__", "breakpoint", "input", "torch.hub", "torch.load", "np.load"),
    *("os.system", "os.popen", "os.execv", "os.execve", "os.spawnv", "os.fork", "os.startfile", "sys.addaudithook"),
}
ALLOWED_CALLS = {("inpainting_core/pickles.py", "torch.load")}  # of which tensors alone are taken
# Networks that transformers builds: of a configuration of ours, or from a folder that a script was given.
FROM_PRETRAINED = {"yoeo_core/detector.py", "yoeo_core/context_features.py"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def called(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_the_code_reaches_no_other_program_and_no_other_machine():
    found = {(name(path), module) for path in CODE for module in imported(path) if module in OUT_OF_BOUNDS}
    assert found == ALLOWED
    found = {(name(path), call) for path in CODE for call in called(path) if call in CALLS}
    assert found == ALLOWED_CALLS
    assert {name(path) for path in CODE if any(call.endswith("from_pretrained") for call in called(path))} == (
        FROM_PRETRAINED
    )


def test_no_cache_is_without_bounds():
    """What holds tensors for as long as a graph or a process lives."""
    for path in CODE:
        text = path.read_text()
        assert not re.search(r"import .*\bcache\b|functools\.cache\b|lru_cache\((maxsize=)?None", text), name(path)
        assert not re.search(r"@lru_cache\n", text), f"{name(path)} keeps 128 of something: say how many it needs"


WATCHED = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "ftplib.", "urllib.", "http.")
seen: list[str] = []
watching = False


def watch(event: str, given: tuple) -> None:
    if watching and event.startswith(WATCHED):
        seen.append(f"{event} {given!r:.200}")


@pytest.mark.usefixtures("in_comfyui")
def test_nothing_leaves_the_machine_and_no_program_is_started_while_it_runs():
    """Python itself tells of every connection and every program, whoever asks for one."""
    global watching
    sys.addaudithook(watch)  # which stays for as long as Python runs, and does nothing but here
    run = {id: node.execute for id, node in nodes().items()}
    watching = True
    try:
        image, mask = run["EraseOnceExamplePicture"]("wren").result
        image, mask = image[:, 40:168, 200:328], mask[:, 40:168, 200:328]
        mask = mask * 0
        mask[:, 40:60, 40:60] = 1
        loaded = run["EraseOnceLoadModel"]("nano (built in)", "none").result
        (detector,) = run["EraseOnceLoadDetector"]("nano detector (built in)").result
        settings = {"seed": 1, "grow": 3, "context": 0.5, "resolution": 64, "steps": 1}
        run["EraseOnceYOEO"](*loaded, image, mask, **settings, detector=detector)
        run["EraseOnceEraDiff"](*loaded, image, mask, **settings, strength=1.0, attention="rectified")
        run["EraseOnceSundryCheck"](image, mask, detector, "loss", 0.9, 0.2)
        run["EraseOnceSnapMask"](image, mask, detector, 0)
        run["EraseOnceGrowToEffects"](image, mask)
    finally:
        watching = False
    assert not seen
