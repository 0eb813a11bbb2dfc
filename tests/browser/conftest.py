"""The browser, and a page in each of the two renderers for every file of tests."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from graph_page import CANVAS, NODES_2, GraphPage
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, sync_playwright

from workflows.client import with_mask
from workflows.comfyui import Server

ROOT = Path(__file__).resolve().parent.parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# without the network flags a Chromium behind a closed network waits for its maker's servers
FLAGS = """--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update
--disable-sync""".split()
WINDOW = {"width": 1600, "height": 1000}


def installed_browser() -> str:
    """The path of a Chromium or Chrome of this machine.  Raises FileNotFoundError where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise FileNotFoundError(f"the browser tests need one of {', '.join(BROWSERS)} on the PATH, got none.")
    return found


@pytest.fixture(scope="module")  # not session: while Playwright runs, no other test can begin an event loop
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed_browser(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the screenshots go: ERASE_ONCE_SCREENSHOTS names a folder to keep them in."""
    folder = Path(os.environ.get("ERASE_ONCE_SCREENSHOTS", tmp_path_factory.mktemp("screenshots")))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module", params=[CANVAS, NODES_2])
def opened(request: pytest.FixtureRequest, browser: Browser, server: Server, pictures: Path) -> Iterator[GraphPage]:
    """The page in one renderer and then in the other; opening it takes longer than most tests."""
    with browser.new_context(viewport=WINDOW) as context:
        page = GraphPage(context.new_page(), server.address, request.param, pictures)
        page.open()
        yield page


@pytest.fixture
def graph_page(request: pytest.FixtureRequest, opened: GraphPage) -> Iterator[GraphPage]:
    """The open page, on which each test opens a graph of its own; at its end a screenshot is kept."""
    yield opened
    opened.screenshot(request.function.__name__.removeprefix("test_"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A part of a real photograph with a wren in its middle, 384 x 288."""
    path = tmp_path / "wren_part.png"
    Image.open(ROOT / "assets" / "pictures" / "wren.jpg").crop((150, 60, 534, 348)).save(path)
    return path


@pytest.fixture
def masked_photo(photo: Path) -> Path:
    """The photo with a box in its alpha, over the wren, which Load Image gives out as the mask."""
    mask, masked = Image.new("L", Image.open(photo).size), photo.with_name("wren_box.png")
    ImageDraw.Draw(mask).rectangle((145, 50, 195, 130), fill=255)
    mask.save(photo.with_name("mask.png"))
    masked.write_bytes(with_mask(photo, photo.with_name("mask.png")))
    return masked
