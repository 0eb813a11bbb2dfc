"""No name is used that nothing defines: ruff's F821, less the letters in jaxtyping's shape strings."""

import json
import subprocess
import sys
import tokenize
from pathlib import Path

from test_arrows import ROOMS

ROOT = Path(__file__).resolve().parent.parent


def undefined_names(*paths: Path) -> list[str]:
    """``file:line name`` for every use outside of a string, which is where shapes stand."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--output-format", "json"]
    run = subprocess.run([*command, *map(str, paths)], cwd=ROOT, capture_output=True, text=True)
    found = [
        (Path(item["filename"]), (item["location"]["row"], item["location"]["column"] - 1))
        for item in json.loads(run.stdout)
    ]
    return [
        f"{path.name}:{row} {name}" for path, (row, column) in found for name in [name_at(path, (row, column))] if name
    ]


def name_at(path: Path, place: tuple[int, int]) -> str:
    """The name that stands at a place of a file; empty where that is inside of a string."""
    with tokenize.open(path) as file:
        tokens = tokenize.generate_tokens(file.readline)
        return next((token.string for token in tokens if token.start == place and token.type == tokenize.NAME), "")


def test_every_name_is_defined():
    assert undefined_names(*(ROOT / room for room in ROOMS)) == []


def test_a_forgotten_import_is_noticed_and_a_shape_is_not(tmp_path):
    file = tmp_path / "forgot.py"
    file.write_text('def f(x: Float[Tensor, "b"]) -> None:\n    return forgotten(x)\n')
    assert [name.split()[-1] for name in undefined_names(file)] == ["Float", "Tensor", "forgotten"]
