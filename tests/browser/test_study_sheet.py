"""A study's sheet in a real browser: answered, saved, and counted."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from score_folders import make_set

from evaluation.study import main, parse_args

pytestmark = pytest.mark.browser


def test_a_filled_sheet_is_saved_and_counts(browser: Browser, tmp_path: Path, pictures: Path):
    root = make_set(tmp_path, 3)
    results = ["--results", f"near={root / 'near'}", f"grey={root / 'grey'}"]
    assert main(parse_args(["make", "--set", str(root / "set"), "--out", str(root / "study"), *results])) == 0
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.goto((root / "study/person_1.html").as_uri())
        shown = json.loads((root / "study/key.json").read_text())["1"]
        for number, (_, left, _) in enumerate(shown):
            page.locator(f"input[name=q{number}][value={'left' if left == 'near' else 'right'}]").check()
        page.screenshot(path=pictures / "study_sheet.png")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save the answers").click()
        assert download.value.suggested_filename == "answers_1.json"
        download.value.save_as(root / "answers_1.json")
    assert main(parse_args(["count", "--out", str(root / "study"), str(root / "answers_1.json")])) == 0
    found = json.loads((root / "study/counted.json").read_text())["grey against near"]
    assert (found["wins"], found["losses"], found["n"]) == (0, 3, 3)
