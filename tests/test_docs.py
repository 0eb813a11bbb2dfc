"""The pages say what is so: their Python runs, their links lead somewhere, every module has its place."""

import re
from pathlib import Path
from runpy import run_path

import pytest
from test_arrows import CORES

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def python_of(page: Path) -> str:
    """A page's Python, every block on the lines where it stands in the page; empty where there is none."""
    text, program = page.read_text(), ""
    for found in BLOCK.finditer(text):
        program += "\n" * (text.count("\n", 0, found.start(1)) - program.count("\n")) + found[1]
    return program


def modules() -> set[str]:
    """Every module of the cores, less what only holds annotations."""
    files = [path for core in CORES for path in (ROOT / core).rglob("*.py")]
    named = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in files}
    return {name for name in named if not name.endswith(("__init__", ".shapes"))}


@pytest.mark.parametrize("page", ["README.md", "docs/build.md"])
def test_a_pages_python_runs_from_top_to_bottom(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "page.py"
    program.write_text(python_of(ROOT / page))
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)  # what it writes stays there
    run_path(str(program))


def test_no_other_page_has_python():
    assert [page.relative_to(ROOT).as_posix() for page in PAGES if python_of(page)] == ["README.md", "docs/build.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path):
    assert [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()] == []


def test_every_module_of_the_cores_is_in_the_reference():
    written = [re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE) for page in (ROOT / "docs/api").glob("*.md")]
    assert sorted(name for names in written for name in names) == sorted(modules())
