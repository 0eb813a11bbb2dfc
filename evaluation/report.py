"""One HTML file that needs nothing else: the table, differences, plots, and pictures to slide over."""

from html import escape
from pathlib import Path

import numpy as np

from evaluation.report_pictures import card
from evaluation.report_plots import COLOURS, strip_plot
from evaluation.run import Run
from evaluation.scorer import HIGHER
from evaluation.table import column

PAGE = Path(__file__).parent / "page"
UNFOLDED = 10  # sentences about what went wrong that stand open
SEED = 0  # of the pictures that are shown where there are more than asked for
WORDS = {HIGHER: "higher is better", "lower": "lower is better"}


def write_report(path: Path, scores: dict, run: Run, shown: int) -> None:
    """Write the report; pictures are written one by one, so that it may show many."""
    with open(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(head(scores))
        file.write(means(scores))
        file.write(differences(scores))
        file.write(judged(scores.get("judged", {})))
        file.write(plots(scores, run))
        file.write(what_made_it(scores))
        file.write(what_is_missing(scores))
        file.write(controls(run))
        for case in chosen(run, shown):
            file.write(card(case, {method: rows.get(case.name, {}) for method, rows in run.rows.items()}))
        file.write(f"</section></main><script>{(PAGE / 'script.js').read_text()}</script></body></html>\n")


def head(scores: dict) -> str:
    count, methods = scores["pictures"], ", ".join(scores["table"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Erased pictures, scored</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{(PAGE / 'style.css').read_text()}</style></head><body><main>"
        f"<h1>Erased pictures, scored</h1><p>{counted(count)}; {escape(methods)}.</p>"
    )


def counted(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"


def means(scores: dict) -> str:
    """The table: a row a method, and under each mean its interval."""
    columns = used(scores)
    cells = "".join(heading(name, scores["metrics"][name]) for name in columns)
    rows = []
    for method, row in scores["table"].items():
        rows.append(f"<tr><th>{escape(method)}</th>{''.join(cell(row.get(name, {})) for name in columns)}</tr>")
    said = scores["interval"]
    return (
        f"<h2>Means</h2><p>Small: the {said['level']:.0%} interval of the mean over pictures ({said['method']}, "
        f"{said['resamples']:,} resamples, seed {said['seed']}). Distances of sets (FID and its like) have none. "
        f'Click a heading to sort.</p><div class="wide"><table class="sortable"><thead><tr><th>method</th>{cells}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def used(scores: dict) -> list[str]:
    return [name for name in scores["metrics"] if any(row.get(name, {}).get("n") for row in scores["table"].values())]


def heading(name: str, metric: dict) -> str:
    arrow = "↑" if metric["better"] == HIGHER else "↓"
    return f'<th title="{escape(metric["says"])}; {WORDS[metric["better"]]}">{escape(name)} {arrow}</th>'


def cell(found: dict) -> str:
    if not found.get("n"):
        return '<td data-value="">–</td>'
    between = f"<small>{found['low']:.4g} to {found['high']:.4g}</small>" if "low" in found else ""
    return f'<td data-value="{found["mean"]!r}">{found["mean"]:.4g}{between}<small>n {found["n"]:,}</small></td>'


def differences(scores: dict) -> str:
    """Each method less the first, picture by picture; marked where the interval leaves out 0."""
    if not scores["differences"]:
        return ""
    first, columns = next(iter(scores["table"])), used(scores)
    rows = []
    for method, row in scores["differences"].items():
        cells = "".join(difference(row.get(name, {}), scores["metrics"][name]["better"]) for name in columns)
        rows.append(f"<tr><th>{escape(method)}</th>{cells}</tr>")
    names = "".join(heading(name, scores["metrics"][name]) for name in columns)
    return (
        f"<h2>Differences to {escape(first)}, picture by picture</h2><p>Means of the paired differences and intervals. "
        f"Green is better than {escape(first)}, red worse, where the interval leaves out 0.</p>"
        f'<div class="wide"><table><thead><tr><th>method</th>{names}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def difference(found: dict, better: str) -> str:
    if not found.get("n"):
        return "<td>–</td>"
    sign = 0 if found["low"] <= 0 <= found["high"] else 1 if found["low"] > 0 else -1
    kind = {0: "", 1: "good", -1: "bad"}[sign if better == HIGHER else -sign]
    return (
        f'<td class="{kind}">{found["mean"]:+.4g}<small>{found["low"]:+.4g} to {found["high"]:+.4g}</small>'
        f"<small>above in {found['above']:,}, below in {found['below']:,}</small></td>"
    )


def judged(found: dict) -> str:
    """What a judge said (``evaluation.judge``); nothing where none was asked."""
    if not found:
        return ""
    rates = "".join(f"<tr><th>{escape(method)}</th>{cell(rate)}</tr>" for method, rate in found["success"].items())
    pairs = "".join(
        f"<tr><th>{escape(pair)}</th><td>{rate['wins']:,}</td><td>{rate['losses']:,}</td><td>{rate['ties']:,}</td>"
        f"<td>{rate['orders_disagree']:,}</td></tr>"
        for pair, rate in found["pairs"].items()
    )
    return (
        f"<h2>Judged by {escape(found['model'])}</h2><p>{found['unread']:,} answers said neither, "
        f"{found['unanswered']:,} questions have none.</p>"
        f"<table><tr><th></th><th>the object is gone</th></tr>{rates}</table>"
        "<table><tr><th></th><th>wins</th><th>losses</th><th>ties</th><th>of these, orders disagree</th></tr>"
        f"{pairs}</table>"
    )


def plots(scores: dict, run: Run) -> str:
    """A strip of dots a method and metric: every picture, and the mean with its interval."""
    drawn = []
    for name in used(scores):
        values = {method: list(column(run, method, name).values()) for method in run.methods}
        if any(values.values()):
            drawn.append(strip_plot(name, WORDS[scores["metrics"][name]["better"]], values, scores["table"]))
    legend = "".join(
        f'<span><i style="background:{COLOURS[i % len(COLOURS)]}"></i>{escape(method)}</span>'
        for i, method in enumerate(run.methods)
    )
    return f'<h2>All pictures</h2><p class="legend">{legend}</p><div class="plots">{"".join(drawn)}</div>'


def what_made_it(scores: dict) -> str:
    rows = []
    for name in used(scores):
        metric = scores["metrics"][name]
        made = "; ".join(f"{key.replace('_', ' ')} {value}" for key, value in metric["made_by"].items())
        rows.append(f"<tr><th>{escape(name)}</th><td>{escape(metric['says'])}</td><td>{escape(made)}</td></tr>")
    return (
        '<h2>What made the numbers</h2><div class="wide"><table class="text"><thead><tr><th>metric</th><th>says</th>'
        f"<th>network, hash of its weights, thresholds</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def what_is_missing(scores: dict) -> str:
    absent = "".join(f"<li><b>{escape(name)}</b> {escape(why)}</li>" for name, why in scores["absent"].items())
    told = "".join(f"<li>{escape(sentence)}</li>" for sentence in scores["problems"][:200])
    more = len(scores["problems"]) - 200
    told += f"<li>and {more:,} more, in scores.json</li>" if more > 0 else ""
    sizes = "".join(
        f"<li>{counted(count)} of {escape(method)} came in another size and were brought to their picture's.</li>"
        for method, count in scores["stretched"].items()
    )
    text = f"<h2>Not there</h2><ul>{absent}</ul>" if absent else ""
    if not (told or sizes):
        return text
    count = len(scores["problems"]) + len(scores["stretched"])
    listed = f"<ul>{sizes}{told}</ul>"
    if count > UNFOLDED:
        listed = f"<details><summary>{count:,} sentences</summary>{listed}</details>"
    return f"{text}<h2>What went wrong</h2>{listed}"


def controls(run: Run) -> str:
    """What stands above the pictures: which two layers are slid over, and the order."""
    has_truth = any(case.truth for case in run.cases)
    layers = ["before", "mask", *(["truth"] if has_truth else []), *run.methods]
    names = dict.fromkeys(name for rows in run.rows.values() for row in rows.values() for name in row)
    orders = [f"{method}: {name}" for method in run.methods for name in names]
    last = layers.index(run.methods[0])
    return (
        '<h2>Pictures</h2><form class="controls">'
        f"<label>left {select('left', layers, 0)}</label><label>right {select('right', layers, last)}</label>"
        f"<label>sort by {select('order', ['name', *orders], 0)}</label>"
        '<label><input type="checkbox" name="down"> from high to low</label></form><section id="cards">'
    )


def select(name: str, options: list[str], chosen: int) -> str:
    inner = "".join(
        f"<option{' selected' if i == chosen else ''}>{escape(option)}</option>" for i, option in enumerate(options)
    )
    return f'<select name="{name}">{inner}</select>'


def chosen(run: Run, shown: int) -> list:
    """The cases that the report shows: all, or as many as asked for, drawn by a seed."""
    scored = [case for case in run.cases if any(case.name in rows for rows in run.rows.values())]
    if len(scored) <= shown:
        return scored
    drawn = np.random.default_rng(SEED).choice(len(scored), shown, replace=False)
    return [scored[i] for i in sorted(drawn)]
