"""What a run found, as one dictionary for programs, and as a csv with a row a picture and method."""

import csv
import json
from pathlib import Path

from evaluation.run import Run
from evaluation.scorer import LOWER
from evaluation.statistics import LEVEL, RESAMPLES, SEED, difference, mean_of

SECONDS = {"better": LOWER, "says": "seconds a picture, as the table of results has them", "made_by": {}}


def summary(run: Run, absent: dict[str, str]) -> dict:
    """Everything that the report says: metrics and what made them, the table, paired differences, what is missing."""
    sets, missing = run.compare()
    table = {method: means_of(run, method) for method in run.methods}
    for method, found in sets.items():
        table[method] |= {column: {"mean": value, "n": len(run.compared[method])} for column, value in found.items()}
    return {
        "pictures": len(run.cases),
        "interval": {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED, "method": "percentile bootstrap"},
        "metrics": metrics_of(run),
        "absent": absent | missing,
        "table": table,
        "differences": {method: differences(run, method) for method in run.methods[1:]},
        "stretched": {method: count for method, count in run.stretched.items() if count},
        "problems": run.problems,
    }


def metrics_of(run: Run) -> dict[str, dict]:
    """Each column that a run can have, which way is better, and what made it."""
    found = {}
    for metric in [*run.scorers, *run.comparisons]:
        for name, column in metric.columns.items():
            found[name] = {"better": column.better, "says": column.says, "made_by": metric.made_by}
    return found | ({"seconds": SECONDS} if any(run.seconds.values()) else {})


def means_of(run: Run, method: str) -> dict[str, dict[str, float]]:
    return {name: mean_of(column(run, method, name).values()) for name in single(run)}


def differences(run: Run, method: str) -> dict[str, dict[str, float]]:
    """A method less the first one, over the pictures that both have."""
    return {name: difference(column(run, method, name), column(run, run.methods[0], name)) for name in single(run)}


def single(run: Run) -> list[str]:
    """The columns that single pictures have."""
    return [
        *(name for scorer in run.scorers for name in scorer.columns),
        *(["seconds"] if any(run.seconds.values()) else []),
    ]


def column(run: Run, method: str, name: str) -> dict[str, float]:
    return {picture: row[name] for picture, row in run.rows[method].items() if name in row}


def write_json(path: Path, scores: dict) -> None:
    path.write_text(json.dumps(scores, indent=1, allow_nan=False), encoding="utf-8", errors="surrogateescape")


def write_csv(path: Path, run: Run) -> None:
    """A row a picture and method, in full precision; what a picture does not have is empty."""
    columns = single(run)
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["picture", "method", *columns])
        for method, rows in run.rows.items():
            for picture, row in rows.items():
                writer.writerow([picture, method, *(row.get(name, "") for name in columns)])
