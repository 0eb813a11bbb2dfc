"""A paper's table from checkpoints, in one line: erase, score, and print ours beside the paper's numbers.

    python -m evaluation.papers eradiff-3 --set sets/open_images --weights cro=cro.safetensors base=sd2_inpaint \\
        --out papers/eradiff_3 --device cuda
    python -m evaluation.papers yoeo-entityseg --set sets/entityseg --weights yoeo=yoeo.safetensors \\
        --detector swin_large.pth --dinov2 dinov2 --sam sam --out papers/yoeo

Every row is erased twice: raw, the network's whole answer for a picture squeezed to its square, as the papers do it;
and as the nodes do, with crops, a mask grown by 5 px and the original around the hole.  Rows whose weights are not
given are the paper's alone.  A run that was stopped goes on where it stopped; ``OUT/scores/report.html`` shows all.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from eradiff_core import pipeline as eradiff
from evaluation import score
from evaluation.flags import add_set, named_folder, settle_set
from evaluation.folders import Case, find_cases
from evaluation.papers_tables import TABLES, Row, Table
from evaluation.peers import erase_all, unfinished
from inpainting_core.engine import load_engine
from inpainting_core.protocol import Engine
from yoeo_core import pipeline as yoeo

PIPELINES = {"eradiff": eradiff, "yoeo": yoeo}
MANNERS = ("raw", "nodes")
PASSED_ON = ("detector", "dinov2", "sam", "clip")  # flags of evaluation.score


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    tables = "; ".join(f"{name}: {table.says}" for name, table in TABLES.items())
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.papers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=TABLES, help=tables)
    add_set(parser)
    parser.add_argument(
        "--weights", nargs="+", type=named_folder, default=[], metavar="NAME=FILE", help="see the table"
    )
    parser.add_argument("--base", type=Path, help="what a UNet alone is laid over")
    parser.add_argument("--out", required=True, type=Path, help="folder for results, scores and the table")
    parser.add_argument("--manners", nargs="+", choices=MANNERS, default=list(MANNERS), help="left out: both")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps, ... (%(default)s)")
    for flag in PASSED_ON:
        parser.add_argument(f"--{flag}", help="as in evaluation.score")
    return settle_set(parser, parser.parse_args(argv))


def main(args: argparse.Namespace) -> int:
    """Erase, score and print; 1 where something is missing and was named, 2 where nothing was tried."""
    table, weights = TABLES[args.table], dict(args.weights)
    try:
        unknown = set(weights) - {row.weights for row in table.rows}
        if unknown or not weights:
            names = ", ".join(dict.fromkeys(row.weights for row in table.rows if row.weights))
            raise ValueError(f"--weights of {args.table} are {names}, got {', '.join(sorted(unknown)) or 'none'}.")
        cases, problems = find_cases(args.pictures, args.masks, {})
        results = dict(erased(table, weights, cases, problems, args))
    except (ValueError, OSError) as err:
        print(f"evaluation.papers: {err}", file=sys.stderr)
        return 2
    for problem in problems:
        print(problem, file=sys.stderr)
    code = score.main(score.parse_args(scoring(table, results, args)))
    if code in (0, 1):
        text = beside(table, json.loads((args.out / "scores/scores.json").read_text()), len(cases))
        (args.out / "table.md").write_text(text)
        print(text)
    return code or int(bool(problems))


def erased(
    table: Table, weights: dict[str, Path], cases: list[Case], problems: list[str], args: argparse.Namespace
) -> Iterator[tuple[str, Path]]:
    """The results of every row and manner, by name; erased where they are not there yet."""
    for name, checkpoint in weights.items():
        engine = None
        for row in [row for row in table.rows if row.weights == name]:
            for manner in args.manners:
                folder = args.out / "erased" / f"{row.name}, {manner}"
                if work := unfinished(cases, folder):
                    engine = engine or load_engine(checkpoint, args.base, args.device)
                    problems += erase_all(method_of(row, manner, engine), work, folder, grow_px=0)
                yield folder.name, folder


def method_of(row: Row, manner: str, engine: Engine):
    """A row's pipeline: the whole picture squeezed to the network's square, or as the nodes have it."""
    pipeline = PIPELINES[row.method]
    if manner == "raw":
        return lambda image, mask: pipeline.raw(engine, image, mask, resolution=engine.resolution, **row.settings).image
    return lambda image, mask: pipeline.erase(engine, image, mask, **row.settings).image


def scoring(table: Table, results: dict[str, Path], args: argparse.Namespace) -> list[str]:
    """The flags of ``evaluation.score`` for what was erased."""
    given = {name: getattr(args, name) for name in ("pictures", "masks", "truths", "effects", "boxes", *PASSED_ON)}
    flags = [part for name, value in given.items() if value is not None for part in (f"--{name}", str(value))]
    named = [f"{name}={folder}" for name, folder in results.items()]
    where = ["--results", *named, "--out", str(args.out / "scores"), "--device", args.device]
    return [*flags, *where, "--metrics", *table.metrics, "--trunk", "vgg"]


def beside(table: Table, scores: dict, count: int) -> str:
    """The table as Markdown: the paper's row, and below it ours in each manner; what is missing and what differs."""
    lines = [f"## {table.says}", "", f"Ours: {count:,} pictures.", ""]
    lines += [f"| | {' | '.join(table.columns.values())} |", f"|---|{'---|' * len(table.columns)}"]
    for row in table.rows:
        paper = [f"{row.paper[name]:g}" if name in row.paper else "" for name in table.columns]
        lines.append(f"| {row.name}, the paper | {' | '.join(paper)} |")
        for name, found in scores["table"].items():
            if row.weights and name.rpartition(", ")[0] == row.name:
                ours = [number(found.get(column, {})) for column in table.columns]
                lines.append(f"| **{row.name}, ours, {name.rpartition(', ')[2]}** | {' | '.join(ours)} |")
    lines += ["", "What differs:", "", *(f"- {sentence}" for sentence in table.protocol)]
    lines += [f"- {name} is absent: {why}" for name, why in scores["absent"].items()]
    made = {name: scores["metrics"][name]["made_by"] for name in table.columns if name in scores["metrics"]}
    lines += [f"- {name}: {', '.join(f'{k} {v}' for k, v in what.items())}" for name, what in made.items() if what]
    return "\n".join(lines) + "\n"


def number(found: dict) -> str:
    """A mean and its interval."""
    if not found.get("n"):
        return ""
    between = f" ({found['low']:.3g} to {found['high']:.3g})" if "low" in found else ""
    return f"{found['mean']:.4g}{between}"


if __name__ == "__main__":
    sys.exit(main(parse_args()))
