"""Every figure that a report shows, recomputed from the picture files alone by a few lines of NumPy."""

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from score_folders import BOX, flags, make_set

from evaluation import score

COUNT, METHODS = 5, ("near", "grey")
COLUMNS = ("psnr", "psnr_hole", "psnr_outside", "ssim", "ssim_hole", "ssim_outside", "seconds")
SECONDS = {"near": [1.5, 2.25, 0.5, 3.0, 4.75], "grey": [0.1, 0.2, 0.3, 0.4, 0.9]}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Five pictures and two methods; ``grey`` does damage outside the hole too."""
    root = make_set(tmp_path_factory.mktemp("figures"), COUNT)
    rng = np.random.default_rng(7)
    for i in range(COUNT):
        path = root / f"grey/a/p{i}.png"
        pixels = np.asarray(Image.open(path)).astype(int) + rng.integers(-3 - i, 4 + i, (32, 48, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    for method, seconds in SECONDS.items():
        lines = [f"a/p{i}.png,{value}" for i, value in enumerate(seconds)]
        (root / method / "erased.csv").write_text("\n".join(["result,seconds", *lines]) + "\n")
    assert score.main(score.parse_args(flags(root))) == 0
    return root


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return unescape((root / "out/report.html").read_text())


@pytest.fixture(scope="module")
def values(root: Path) -> dict[tuple[str, str], np.ndarray]:
    """(method, column) -> a number a picture."""
    found = {(method, column): np.zeros(COUNT) for method in METHODS for column in COLUMNS}
    inside = np.zeros((32, 48), bool)
    inside[BOX] = True
    for method in METHODS:
        found[method, "seconds"] = np.array(SECONDS[method])
        for i in range(COUNT):
            truth, result = (np.asarray(Image.open(root / f"{at}/a/p{i}.png")) / 255 for at in ("set/truth", method))
            squared = ((truth - result) ** 2).mean(-1)
            alike = ssim_map(truth, result)
            for ending, where in (("", inside | True), ("_hole", inside), ("_outside", ~inside)):
                found[method, f"psnr{ending}"][i] = -10 * np.log10(max(1e-10, squared[where].mean()))
                found[method, f"ssim{ending}"][i] = alike[where].mean()
    return found


def ssim_map(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """SSIM at every pixel, the mean over channels, edges mirrored."""

    def smooth(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, (1.5, 1.5, 0), truncate=3.5, mode="mirror")

    a, b = smooth(one), smooth(other)
    aa, bb, ab = smooth(one * one) - a * a, smooth(other * other) - b * b, smooth(one * other) - a * b
    found = (2 * a * b + 1e-4) * (2 * ab + 9e-4) / ((a * a + b * b + 1e-4) * (aa + bb + 9e-4))
    return found.mean(-1)


def interval(numbers: np.ndarray) -> tuple[float, float]:
    """The percentile bootstrap: means of resamples with replacement, 20 x 50 of them by the seed 0."""
    if numbers.std() == 0:
        return numbers[0], numbers[0]
    rng = np.random.default_rng(0)
    means = [numbers[rng.integers(0, len(numbers), (50, len(numbers)))].mean(1) for _ in range(20)]
    return tuple(np.quantile(means, (0.025, 0.975)))


def near(shown: str, expected: float) -> bool:
    """Whether four digits say this number; SSIM and PSNR are found in fp32."""
    return float(shown.replace("+", "")) == pytest.approx(expected, rel=1e-3, abs=2e-4)


def rows_of(part: str) -> dict[str, list[str]]:
    """A table's cells by the heading of their row."""
    lines = re.findall(r"<tr><th>(near|grey)</th>(.*?)</tr>", part)
    return {name: re.findall(r"<td[^>]*>(.*?)</td>", line, re.DOTALL) for name, line in lines}


def part(page: str, heading: str) -> str:
    return re.search(rf"<h2>{heading}.*?</h2>(.*?)<h2>", page, re.DOTALL)[1]


def test_the_means_their_intervals_and_counts(page: str, values: dict):
    table = part(page, "Means")
    assert re.findall(r"<th title=[^>]*>(\w+) .</th>", table) == list(COLUMNS)
    for method, cells in rows_of(table).items():
        for column, cell in zip(COLUMNS, cells, strict=True):
            pattern = r"(\S+)<small>(\S+) to (\S+)</small><small>n (\d+)</small>"
            mean, low, high, count = re.fullmatch(pattern, cell).groups()
            numbers = values[method, column]
            assert near(mean, numbers.mean()) and int(count) == COUNT
            assert all(near(shown, edge) for shown, edge in zip((low, high), interval(numbers), strict=True))


def test_the_differences_picture_by_picture(page: str, values: dict):
    table = part(page, "Differences to near")
    rows = rows_of(table)
    assert list(rows) == ["grey"]
    kinds = re.findall(r'<td class="(\w*)">', table)
    for column, cell, kind in zip(COLUMNS, rows["grey"], kinds, strict=True):
        pattern = r"(\S+)<small>(\S+) to (\S+)</small><small>above in (\d+), below in (\d+)</small>"
        mean, low, high, above, below = re.fullmatch(pattern, cell).groups()
        apart = values["grey", column] - values["near", column]
        edges = interval(apart)
        assert near(mean, apart.mean()) and near(low, edges[0]) and near(high, edges[1])
        assert (int(above), int(below)) == ((apart > 0).sum(), (apart < 0).sum())
        better = (edges[0] > 0) if column != "seconds" else (edges[1] < 0)
        assert kind == ("" if edges[0] <= 0 <= edges[1] else "good" if better else "bad")
    assert {"good", "bad"} <= set(kinds), "both colours are tried"


def test_the_plots_dots_bars_and_axes(page: str, values: dict):
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) == len(COLUMNS)
    for column, plot in zip(COLUMNS, plots, strict=True):
        every = np.concatenate([values[method, column] for method in METHODS])
        least, most = every.min(), every.max()
        axis = re.findall(r'<text x="[^"]*" y="[^"]*" text-anchor="\w+">([^<]+)</text>', plot)
        assert all(near(*pair) for pair in zip(axis, (least, (least + most) / 2, most), strict=True))

        def x_of(value: float, least: float = least, most: float = most) -> float:
            return 12 + 416 * (value - least) / (most - least)

        dots = np.array(re.findall(r'<circle cx="(\S+)" cy="\S+" r="2.6"', plot), float)
        expected = np.concatenate([np.sort(values[method, column]) for method in METHODS])
        assert np.allclose(dots, [x_of(value) for value in expected], atol=0.2)
        bars = re.findall(r'<line x1="(\S+)" x2="(\S+)" y1="\S+" y2="\S+" class="interval"/>', plot)
        titles = re.findall(r"<title>(\w+), \w+: (\S+) \((\S+) to (\S+)\)</title>", plot)
        for method, bar, said in zip(METHODS, bars, titles, strict=True):
            edges = interval(values[method, column])
            assert np.allclose(np.array(bar, float), [x_of(edge) for edge in edges], atol=0.2) and said[0] == method
            figures = (values[method, column].mean(), *edges)
            assert all(near(*pair) for pair in zip(said[1:], figures, strict=True))


def test_the_numbers_on_every_card_and_those_that_it_is_sorted_by(page: str, values: dict):
    cards = re.findall(r'<article data-name="a/p(\d)">(.*?)</article>', page, re.DOTALL)
    assert [int(number) for number, _ in cards] == list(range(COUNT))
    for number, card in cards:
        for method, cells in rows_of(card).items():
            expected = [values[method, column][int(number)] for column in COLUMNS]
            assert all(near(*pair) for pair in zip(cells, expected, strict=True))
        sorting = dict(re.findall(r'<data data-order="([^"]+)" value="([^"]+)">', card))
        assert len(sorting) == len(METHODS) * len(COLUMNS)
        for order, value in sorting.items():
            method, column = order.split(": ")
            assert near(value, values[method, column][int(number)])
    assert "5 pictures; near, grey." in page
