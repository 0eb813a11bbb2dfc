"""Score anybody's erased pictures.

    python -m evaluation.score --pictures photos --masks masks --out scores \\
        --results yoeo=erased_yoeo telea=erased_telea
    python -m evaluation.score --set SET --results mine=erased --detector nano --out scores

``photos/a/dog.jpg`` goes with ``masks/a/dog.*``, ``erased_yoeo/a/dog.*``, and where there are any with
``truths/a/dog.*`` and ``effects/a/dog.*``; ``dog_mask``, ``dog_gt`` and ``dog_effect`` serve too.  A set is one folder
with ``input``, ``mask``, and where there are any ``truth`` and ``effect`` (``python -m evaluation.test_sets`` makes
the published ones).

``scores/report.html`` is for reading, ``scores.json`` for programs, ``pictures.csv`` has a row a picture and method.
A metric whose weights are not there is named with the line that gets them; nothing is downloaded and nothing else put
in its place.  A run that was stopped goes on where it stopped.  docs/evaluate.md says which number to trust for what.

Exit codes: 0 all scored; 1 something is missing or cannot be read, and is named; 2 nothing
was tried; 130 interrupted.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from evaluation.cache import Cache
from evaluation.flags import add_set, named_folder, settle_set
from evaluation.folders import find_cases, seconds_in, with_boxes
from evaluation.loading import ABOUT, LOADERS, load_metrics
from evaluation.report import write_report
from evaluation.run import Run
from evaluation.saying import INTERRUPTED, say
from evaluation.table import summary, write_csv, write_json


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_files(parser.add_argument_group("files"))
    add_metrics(parser.add_argument_group("metrics"))
    return settle_set(parser, parser.parse_args(argv))


def add_files(group: argparse._ArgumentGroup) -> None:
    add_set(group)
    group.add_argument(
        "--results",
        required=True,
        nargs="+",
        type=named_folder,
        metavar="NAME=DIR",
        help="folders of erased pictures; differences are to the first",
    )
    group.add_argument("--judged", type=Path, help="folder of evaluation.judge: its verdicts are shown too")
    group.add_argument("--out", required=True, type=Path, help="folder for the report")


def add_metrics(group: argparse._ArgumentGroup) -> None:
    says = "; ".join(f"{name}: {about}" for name, about in ABOUT.items())
    group.add_argument(
        "--metrics",
        nargs="+",
        choices=LOADERS,
        default=list(LOADERS),
        metavar="M",
        help=f"of {', '.join(LOADERS)} ({says})",
    )
    group.add_argument("--trunk", choices=["alex", "vgg"], default="alex", help="of LPIPS and ST-LPIPS (%(default)s)")
    group.add_argument("--detector", help="for MSN and MARS: nano, a file or a folder with a Mask2Former")
    group.add_argument("--dinov2", type=Path, help="for CFD and RC-S: a folder with DINOv2 (facebook/dinov2-giant)")
    group.add_argument("--sam", type=Path, help="for CFD and ReMOVE: a folder with SAM (facebook/sam-vit-huge)")
    group.add_argument("--clip", type=Path, help="for CMMD: a folder with CLIP (openai/clip-vit-large-patch14-336)")
    group.add_argument("--device", default="cpu", help="cpu, cuda, mps, ... (%(default)s)")
    group.add_argument("--shown", type=int, default=60, help="pictures that the report shows at most (%(default)s)")


def main(args: argparse.Namespace) -> int:
    """Score, write the report, and return the exit code."""
    results = dict(args.results)
    try:
        cases, problems = find_cases(args.pictures, args.masks, results, args.truths, args.effects)
        cases = with_boxes(cases, args.boxes) if args.boxes else cases
        scorers, comparisons, absent = load_metrics(args)
        judged = {"judged": json.loads((args.judged / "judged.json").read_text())} if args.judged else {}
        args.out.mkdir(parents=True, exist_ok=True)
        cache = Cache(args.out / "cache.sqlite", say)
        seconds = {method: seconds_in(folder) for method, folder in results.items()}
    except (ValueError, OSError, torch.cuda.OutOfMemoryError) as err:
        say(f"evaluation.score: {err}")
        return 2
    for sentence in [*problems, *(f"{name}: absent, {why}" for name, why in absent.items())]:
        say(sentence)
    run = Run(cases, list(results), scorers, comparisons, cache, seconds, say, problems=problems)
    try:
        run.score()
        scores = summary(run, absent) | judged
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here.")
        return INTERRUPTED
    finally:
        cache.close()
    return finish(run, scores, args) or int(bool(run.problems))


def finish(run: Run, scores: dict, args: argparse.Namespace) -> int:
    """Write the three files, each by itself; what cannot be written is told, and the exit code is 1."""
    code = 0
    for name, write in (
        ("scores.json", lambda path: write_json(path, scores)),
        ("pictures.csv", lambda path: write_csv(path, run)),
        ("report.html", lambda path: write_report(path, scores, run, args.shown)),
    ):
        try:
            write(args.out / name)
        except OSError as err:
            say(f"{args.out / name} cannot be written: {err}")
            code = 1
    print(as_text(scores))
    print(f"see {args.out / 'report.html'}")
    return code


def as_text(scores: dict) -> str:
    """The table for a terminal: methods as rows, means."""
    columns = [name for name in scores["metrics"] if any(name in row for row in scores["table"].values())]
    lines = [["", *columns]]
    for method, row in scores["table"].items():
        lines.append([method, *(f"{row[name]['mean']:.4g}" if row.get(name, {}).get("n") else "-" for name in columns)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


if __name__ == "__main__":
    sys.exit(main(parse_args()))
