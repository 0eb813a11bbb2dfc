"""SECURITY.md: every test that it names is there."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
NAMED = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", (TESTS.parent / "SECURITY.md").read_text())


def test_it_names_tests():
    assert len(NAMED) >= 12


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_named_test_is_there(file: str, test: str):
    tree = ast.parse((TESTS / file).read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert test in names if test else any(name.startswith("test_") for name in names)
