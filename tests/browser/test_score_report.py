"""The report of scores in a real browser: the slider, the order, the table, and nothing fetched from outside."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from score_folders import flags, make_set

from evaluation import score

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    root = make_set(tmp_path_factory.mktemp("scored"), 5)
    assert score.main(score.parse_args(flags(root))) == 0
    return root


@pytest.fixture
def page(browser: Browser, scored: Path, pictures: Path, request) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page, asked, wrong = context.new_page(), [], []
        page.on("request", lambda one: asked.append(one.url))
        page.on("pageerror", lambda err: wrong.append(str(err)))
        page.goto((scored / "out/report.html").as_uri())
        yield page
        page.screenshot(path=pictures / f"report_{request.node.name}.png", full_page=True)
        assert wrong == [] and not [url for url in asked if not url.startswith(("file:", "data:"))]


def order(page: Page) -> list[str]:
    return page.eval_on_selector_all("article", "all => all.map(one => one.dataset.name)")


def test_the_slider_uncovers_the_left_picture(page: Page):
    first = page.locator("article").first
    left, right = first.locator("img.left"), first.locator("img.right")
    assert (left.get_attribute("data-layer"), right.get_attribute("data-layer")) == ("before", "near")
    assert left.is_visible() and right.is_visible()
    first.locator("input[type=range]").fill("20")
    assert "80%" in left.evaluate("one => getComputedStyle(one).clipPath")
    page.locator("select[name=left]").select_option("truth")
    page.locator("select[name=right]").select_option("grey")
    assert {one.get_attribute("data-layer") for one in page.locator("img.left").all()} == {"truth"}
    assert first.locator("img.right").get_attribute("data-layer") == "grey"


def test_pictures_are_sorted_by_a_number_and_back(page: Page, scored: Path):
    before = order(page)
    rows = [line.split(",") for line in (scored / "out/pictures.csv").read_text().splitlines()[1:]]
    values = {row[0]: float(row[3]) for row in rows if row[1] == "grey"}
    page.locator("select[name=order]").select_option("grey: psnr_hole")
    assert order(page) == sorted(values, key=values.get)
    page.locator("input[name=down]").check()
    assert order(page) == sorted(values, key=values.get)[::-1]
    page.locator("select[name=order]").select_option("name")
    page.locator("input[name=down]").uncheck()
    assert order(page) == before


def test_the_table_is_sorted_by_a_heading_and_says_the_means(page: Page, scored: Path):
    table = page.locator("table.sortable")
    means = json.loads((scored / "out/scores.json").read_text())["table"]
    table.locator("thead th", has_text="psnr_hole").click()
    methods = [one.inner_text() for one in table.locator("tbody th").all()]
    assert methods == sorted(means, key=lambda method: -means[method]["psnr_hole"]["mean"])
    shown = table.locator("tbody tr").first.locator("td").nth(1).inner_text().split("\n")[0]
    assert shown == f"{means[methods[0]]['psnr_hole']['mean']:.4g}"


def test_every_metric_has_a_plot_with_a_dot_a_picture(page: Page):
    assert page.locator("svg").count() == 6
    assert page.locator("svg").first.locator("circle:not(.mean)").count() == 10


def test_a_narrow_page_needs_no_scrolling_sideways_and_its_controls_stay_on_top(page: Page):
    page.set_viewport_size({"width": 400, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.locator(".stack").nth(1).evaluate("one => scrollBy(0, one.getBoundingClientRect().top)")
    assert page.evaluate(
        """() => {
            const box = document.querySelector(".controls").getBoundingClientRect();
            const hit = (x, y) => document.elementFromPoint(x, y).closest(".controls") !== null;
            return [0.1, 0.5, 0.9].every((at) => hit(box.left + box.width * at, box.top + box.height / 2));
        }"""
    )
