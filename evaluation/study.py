"""A study with people: blinded sheets to hand out, and what the answers come to.

    python -m evaluation.study make --set SET --results ours=erased theirs=other --out study --people 5
    python -m evaluation.study count --out study answers_1.json answers_2.json

``study/person_1.html`` and so on need nothing else and open in any browser: pairs in an order and with sides of their
own for each person, no names, a form, and a button that saves ``answers_1.json``.  ``study/key.json`` tells what was
shown where: keep it to yourself until the answers are in.
"""

import argparse
import json
import sys
from collections import defaultdict
from html import escape
from itertools import combinations
from pathlib import Path

import numpy as np

from evaluation.flags import add_set, named_folder, settle_set
from evaluation.folders import Case, find_cases
from evaluation.questions import as_url
from evaluation.report_pictures import as_image, tinted
from evaluation.scene import Given
from evaluation.statistics import mean_of

PAGE = Path(__file__).parent / "page"
SIDES = ("left", "right", "same")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    add_set(making)
    making.add_argument("--results", required=True, nargs="+", type=named_folder, metavar="NAME=DIR")
    making.add_argument("--people", type=int, default=1, help="sheets (%(default)s)")
    making.add_argument("--seed", type=int, default=0, help="of orders and sides (%(default)s)")
    counting = commands.add_parser("count")
    counting.add_argument("answers", nargs="+", type=Path, help="files that people sent back")
    for command in (making, counting):
        command.add_argument("--out", required=True, type=Path, help="folder of the study")
    args = parser.parse_args(argv)
    return settle_set(making, args) if args.command == "make" else args


def main(args: argparse.Namespace) -> int:
    """Make or count; 0 where all went well, 1 where something was left out and is named, 2 where nothing was done."""
    try:
        return make(args) if args.command == "make" else count(args)
    except (ValueError, KeyError, OSError) as err:
        print(f"evaluation.study: {err}", file=sys.stderr)
        return 2


def make(args: argparse.Namespace) -> int:
    """A sheet a person, and the key."""
    results = dict(args.results)
    cases, problems = find_cases(args.pictures, args.masks, results)
    args.out.mkdir(parents=True, exist_ok=True)
    key = {}
    for person in range(1, args.people + 1):
        rng = np.random.default_rng([args.seed, person])
        pairs = [(case, pair) for case in cases for pair in combinations(case.results, 2)]
        drawn = [pairs[i] for i in rng.permutation(len(pairs))]
        sides = [pair if rng.random() < 0.5 else pair[::-1] for _, pair in drawn]
        key[str(person)] = [[case.name, *shown] for (case, _), shown in zip(drawn, sides, strict=True)]
        write_sheet(args.out / f"person_{person}.html", person, [case for case, _ in drawn], sides)
    (args.out / "key.json").write_text(json.dumps(key, indent=1))
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{args.people} sheets of {len(pairs)} pairs in {args.out}; keep key.json to yourself.")
    return int(bool(problems))


def write_sheet(path: Path, person: int, cases: list[Case], sides: list[tuple[str, str]]) -> None:
    """One person's sheet.  Raises ValueError or OSError for pictures that cannot be read."""
    with open(path, "w", encoding="utf-8") as file:
        head = (PAGE / "study.html").read_text()
        file.write(head.replace("PERSON", str(person)).replace("COUNT", str(len(cases))))
        for number, (case, pair) in enumerate(zip(cases, sides, strict=True)):
            file.write(question(number, case, pair))
        file.write("<button type=submit>Save the answers</button></form></main></body></html>\n")


def question(number: int, case: Case, pair: tuple[str, str]) -> str:
    """The object, the two results, and the three answers; nothing in it tells a method or a file."""
    given = Given.read(case)
    before = as_image(given.picture)
    shown = [tinted(before, given.mask), *(as_image(given.scene(case.results[method]).result) for method in pair)]
    pictures = "".join(
        f'<figure><img src="{as_url(image)}" alt="{says}"><figcaption>{says}</figcaption></figure>'
        for image, says in zip(shown, ("to be removed", "left", "right"), strict=True)
    )
    answers = "".join(
        f'<label><input type="radio" name="q{number}" value="{escape(side)}" required> {side}</label>' for side in SIDES
    )
    return f"<fieldset><legend>{number + 1}</legend><div>{pictures}</div><p>{answers}</p></fieldset>"


def count(args: argparse.Namespace) -> int:
    """Wins of each pair of methods: people's answers are averaged a picture, and pictures have the interval."""
    key = json.loads((args.out / "key.json").read_text())
    scores: dict = defaultdict(lambda: defaultdict(list))
    for path in args.answers:
        said = json.loads(path.read_text())
        shown = key[str(said["person"])]
        if len(said["answers"]) != len(shown) or not set(said["answers"]) <= set(SIDES):
            raise ValueError(f"{path} must answer {len(shown)} questions with {', '.join(SIDES)}.")
        for (name, left, right), answer in zip(shown, said["answers"], strict=True):
            first, second = sorted((left, right))
            value = {"same": 0, "left": 1, "right": -1}[answer]
            scores[f"{first} against {second}"][name].append(value if left == first else -value)
    report = {pair: of_pair(values) for pair, values in scores.items()}
    (args.out / "counted.json").write_text(json.dumps(report, indent=1))
    for pair, found in report.items():
        votes = f"{found['wins']} wins, {found['losses']} losses, {found['ties']} same"
        mean = f"{found['mean']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f}) over {found['n']} pictures"
        print(f"{pair}: {votes}; mean {mean}; people agree in {found['agreement']:.0%}")
    return 0


def of_pair(values: dict[str, list[int]]) -> dict:
    """Votes, the mean over pictures with its interval, and how often two people say the same of a picture."""
    votes = [vote for one in values.values() for vote in one]
    pairs = [a == b for one in values.values() for a, b in combinations(one, 2)]
    return mean_of([float(np.mean(one)) for one in values.values()]) | {
        "wins": votes.count(1),
        "losses": votes.count(-1),
        "ties": votes.count(0),
        "agreement": float(np.mean(pairs)) if pairs else 1.0,
    }


if __name__ == "__main__":
    sys.exit(main(parse_args()))
