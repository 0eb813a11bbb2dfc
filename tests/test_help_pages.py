"""The help pages: every node has one in every language, it lists what the node has, and quotes what the code says."""

import ast
import re
from functools import cache
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from markdown_it import MarkdownIt
from test_arrows import LIGHT

from workflows.comfyui import Server
from workflows.describe import inputs, ours, read

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "web" / "docs"
NODES = sorted(read("en"))
# The parts of a page in their order; the last holds what goes wrong, and why.
PARTS = {
    "en": ("## Recipe", "## Inputs", "## Outputs", "## What goes wrong, and why"),
    "zh": ("## 配方", "## 输入", "## 输出", "## 常见问题与原因"),
    "zh-TW": ("## 做法", "## 輸入", "## 輸出", "## 常見問題與原因"),
    "ja": ("## レシピ", "## 入力", "## 出力", "## うまくいかないとき"),
    "ko": ("## 사용법", "## 입력", "## 출력", "## 문제와 원인"),
    "ru": ("## Рецепт", "## Входы", "## Выходы", "## Что может пойти не так и почему"),
}
RANGE = ("default", "min", "max")

every_page = pytest.mark.parametrize(("node", "language"), [(node, language) for node in NODES for language in PARTS])


def place(node: str, language: str) -> str:
    """Where a page lies under docs/: English is what the frontend falls back to where a language has none."""
    return f"{node}.md" if language == "en" else f"{node}/{language}.md"


def page(node: str, language: str) -> str:
    return (DOCS / place(node, language)).read_text(encoding="utf-8")


def tables(text: str) -> list[list[list[str]]]:
    """A page's Markdown tables: rows of cells, without the heading."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    return [[[cell.strip() for cell in row.strip("|").split("|")] for row in b.splitlines()[2:]] for b in blocks]


def heading(name: str, english: str, kind: object, options: dict) -> str:
    """The first cell of a table's row: the name as the node shows it, as errors and graphs have it, and the kind.

    All in one, for the frontend shows pages in a panel that is too narrow for three columns.
    """
    return "<br>".join([*([name] if name != english else []), f"`{english}`", kind_of(kind, options)])


def kind_of(kind: object, options: dict) -> str:
    """A widget's default and range, or an input's type."""
    if kind in ("INT", "FLOAT") and options:
        default, low, high = (f"{options[key]:g}" if kind == "FLOAT" else options[key] for key in RANGE)
        return f"{default} ({low}–{'2^64-1' if high == 2**64 - 1 else high})"
    return f"`{str(options.get('default', kind)).removeprefix('ERASE_ONCE_')}`"


@cache
def sentences() -> list[re.Pattern]:
    """What the code can say, as patterns: its texts of some length, with anything where a value goes in."""
    files = [path for room in LIGHT for path in (ROOT / room).rglob("*.py")]
    found = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    texts = [node.values for node in found if isinstance(node, ast.JoinedStr)]
    texts += [[node] for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    said = [[part.value if isinstance(part, ast.Constant) else None for part in text] for text in texts]
    said = [text for text in said if sum(len(part or "") for part in text) >= 20]
    return [re.compile("".join(".+" if part is None else re.escape(part) for part in text)) for text in said]


def quoted(text: str, language: str) -> list[str]:
    """The sentences of the code that a page explains."""
    return re.findall(r"^- `([^`]+)`", text.split(PARTS[language][-1])[1], re.MULTILINE)


def docs_address(server: Server, object_info: dict) -> str:
    """Where the frontend looks for pages: it takes the pack's folder from the nodes' module."""
    (module,) = {node["python_module"] for node in ours(object_info).values()}
    return f"http://{server.address}/extensions/{module.removeprefix('custom_nodes.')}/docs"


def asked(docs: str, node: str, language: str) -> str:
    """What the frontend gets: the language's own page first, and where that is not found the node's."""
    try:
        with urlopen(f"{docs}/{node}/{language}.md") as answer:
            return answer.read().decode()
    except HTTPError as err:
        assert err.code == 404
    with urlopen(f"{docs}/{node}.md") as answer:
        return answer.read().decode()


def test_there_is_a_page_for_every_node_in_every_language_and_no_other():
    expected = {place(node, language) for node in NODES for language in PARTS}
    assert {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} == expected


@every_page
def test_a_page_has_its_parts(node: str, language: str):
    text = page(node, language)
    assert text.startswith(f"# {read(language)[node]['display_name']}\n")
    assert tuple(re.findall("^## .+$", text, re.MULTILINE)) == PARTS[language]
    assert "](pictures/" in text.split("\n## ")[0], "a page leads with a picture"
    assert f"](pictures/{node}.jpg)" in text
    assert 35 <= len(text.splitlines()) <= 80


@every_page
def test_a_page_lists_exactly_what_the_node_has(object_info: dict, node: str, language: str):
    words, has, (ins, outs) = read(language)[node], object_info[node], tables(page(node, language))
    assert [row[0] for row in ins] == [
        heading(words["inputs"][key]["name"], key, kind, options) for key, (kind, options) in inputs(has).items()
    ]
    assert [row[0] for row in outs] == [
        heading(words["outputs"][str(number)]["name"], name, kind, {})
        for number, (name, kind) in enumerate(zip(has["output_name"], has["output"], strict=True))
    ]
    assert all(len(row) == 2 and row[1] for row in ins + outs)


@every_page
def test_a_page_says_what_every_choice_does(object_info: dict, node: str, language: str):
    for row, (_, options) in zip(tables(page(node, language))[0], inputs(object_info[node]).values(), strict=True):
        choices = [] if node.startswith("EraseOnceLoad") else options.get("options", [])  # a loader's are files
        assert [choice for choice in choices if f"`{choice}`" not in row[1]] == []


@every_page
def test_a_page_quotes_what_the_code_says(node: str, language: str):
    quotes = quoted(page(node, language), language)
    assert quotes and quotes == quoted(page(node, "en"), "en")
    assert [quote for quote in quotes if not any(said.fullmatch(quote) for said in sentences())] == []


@every_page
def test_a_page_names_our_nodes_as_its_language_does(node: str, language: str):
    prose = re.sub("`[^`]*`", "", page(node, language))  # the code's own sentences name them in English
    assert language == "en" or [title for title in titles("en") if title in prose] == []


@every_page
def test_every_emphasis_is_closed(node: str, language: str):
    """Markdown closes none between a bracket and a letter, as Korean would put them: the page shows the asterisks."""
    blocks = MarkdownIt("commonmark").enable("table").parse(page(node, language))
    words = [word.content for block in blocks for word in block.children or [] if word.type == "text"]
    assert [text for text in words if "*" in text] == []


def titles(language: str) -> list[str]:
    return [words["display_name"] for words in read(language).values()]


@every_page
def test_a_page_has_no_link_within_the_pack(node: str, language: str):
    """The frontend resolves the addresses of pictures only."""
    links = re.findall(r"(?<!!)\[[^]]*\]\(([^)]+)\)", page(node, language))
    assert [link for link in links if not link.startswith("https://")] == []


@pytest.mark.parametrize("language", [*PARTS, "fr"])
@pytest.mark.parametrize("node", NODES)
def test_the_frontend_gets_the_page(server: Server, object_info: dict, node: str, language: str):
    """English where a language has none, as French has."""
    got = asked(docs_address(server, object_info), node, language)
    assert got == page(node, language if language in PARTS else "en")


def test_every_picture_is_there_and_served(server: Server, object_info: dict):
    """A picture's address is relative to docs/, whichever folder the page lies in."""
    pages = [page(node, language) for node in NODES for language in PARTS]
    pictures = sorted({picture for text in pages for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)})
    assert [picture for picture in pictures if not (DOCS / picture).is_file()] == []
    for picture in pictures:
        with urlopen(f"{docs_address(server, object_info)}/{picture}") as answer:
            assert answer.status == 200
