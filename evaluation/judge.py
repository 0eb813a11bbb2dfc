"""Ask a vision-language model: is the object gone, and which of two results is better?

    JUDGE_API_KEY=... python -m evaluation.judge --set SET --results ours=erased theirs=other --out judged \\
        --endpoint https://api.openai.com/v1 --model gpt-4o --price 2.5 10
    python -m evaluation.judge --set SET --results ours=erased --out judged --model M \\
        --endpoint http://localhost:8000/v1

Any endpoint that speaks the OpenAI chat protocol will do, a local one too.  Nothing is sent before the number of
questions and, with ``--price`` (of a million tokens in and out), the estimated cost were shown and confirmed; ``--yes``
confirms beforehand.  The key comes from the environment only.  An answer is kept under the content of its question, so
that nothing is paid twice.  Every pair is asked in both orders; a judge that prefers a place gives no verdict.

``judged/judged.json`` has the success rate of each method, the wins of each pair with bootstrap intervals, the number
of answers that could not be read, and the tokens used.

Exit codes: 0 all answered; 1 some questions have no answer and are named; 2 nothing was asked; 130 interrupted.
"""

import argparse
import json
import os
import sys
from itertools import combinations
from pathlib import Path

from tqdm import tqdm

from evaluation.asking import Answers, Endpoint, Unanswered
from evaluation.flags import add_set, named_folder, settle_set
from evaluation.folders import find_cases
from evaluation.questions import Question, questions_of
from evaluation.saying import INTERRUPTED, say
from evaluation.verdicts import verdicts

KEY = "JUDGE_API_KEY"
TOKENS_OUT = 5  # of an answer: one word


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.judge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_set(parser)
    parser.add_argument("--results", required=True, nargs="+", type=named_folder, metavar="NAME=DIR")
    parser.add_argument("--out", required=True, type=Path, help="folder for the answers and what they come to")
    parser.add_argument("--endpoint", required=True, help="address up to and with /v1")
    parser.add_argument("--model", required=True, help="as the endpoint calls it")
    parser.add_argument(
        "--price", nargs=2, type=float, metavar=("IN", "OUT"), help="of a million tokens, to estimate cost"
    )
    parser.add_argument("--tokens-a-picture", type=int, default=800, help="for the estimate (%(default)s)")
    parser.add_argument("--tries", type=int, default=6, help="a question is asked at most so often (%(default)s)")
    parser.add_argument("--yes", action="store_true", help="ask without confirming")
    return settle_set(parser, parser.parse_args(argv))


def main(args: argparse.Namespace) -> int:
    """Ask what has no answer yet, write what it comes to, and return the exit code."""
    results = dict(args.results)
    try:
        cases, problems = find_cases(args.pictures, args.masks, results)
        args.out.mkdir(parents=True, exist_ok=True)
        answers = Answers(args.out / "answers.jsonl")
        questions = list(questions_of(cases, list(combinations(results, 2)), args.model, problems))
    except (ValueError, OSError) as err:
        say(f"evaluation.judge: {err}")
        return 2
    open_ones = {question.key: question for question in questions if question.key not in answers.found}
    say(estimate(list(open_ones.values()), args))
    if open_ones and not args.yes and not confirmed():
        return 2
    try:
        ask_all(list(open_ones.values()), answers, problems, args)
        return conclude(questions, answers, problems, args)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here.")
        return INTERRUPTED
    except OSError as err:  # an answer that is paid for must be kept
        say(f"evaluation.judge: stopped, for {args.out} cannot be written: {err}")
        return 1


def confirmed() -> bool:
    """Whether a person says yes; where nobody can, it is no."""
    try:
        return input("Ask them? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def ask_all(questions: list[Question], answers: Answers, problems: list[str], args: argparse.Namespace) -> None:
    """Ask one question after another; one without an answer is told; where no other would get one either, stop."""
    endpoint = Endpoint(args.endpoint, args.model, os.environ.get(KEY), args.tries)
    for question in tqdm(questions, unit="question", disable=not questions):
        try:
            answer = endpoint.ask(question.messages())
        except Unanswered as err:
            problems.append(f"{question.says}: {err}")
            say(problems[-1])
            if err.hopeless:
                return
            continue
        answers.keep(question.key, *answer)


def estimate(questions: list[Question], args: argparse.Namespace) -> str:
    """How much is to be asked and, where prices are known, about what it costs."""
    tokens = sum(question.pictures for question in questions) * args.tokens_a_picture
    tokens += sum(len(question.text) // 4 for question in questions)
    text = f"{len(questions):,} questions to {args.model}, about {tokens:,} tokens in"
    if args.price:
        cost = (tokens * args.price[0] + len(questions) * TOKENS_OUT * args.price[1]) / 1e6
        text += f", about {cost:.2f} in the currency of --price"
    return f"{text}."


def conclude(questions: list[Question], answers: Answers, problems: list[str], args: argparse.Namespace) -> int:
    found = verdicts(questions, answers.found)
    found |= {"model": args.model, "endpoint": args.endpoint, "tokens": answers.tokens(), "problems": problems}
    if args.price:
        found["cost"] = sum(count * price for count, price in zip(answers.tokens(), args.price, strict=True)) / 1e6
    (args.out / "judged.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    for method, rate in found["success"].items():
        print(f"{method}: the object is gone in {rate['mean']:.1%} of {rate['n']}" if rate["n"] else f"{method}: none")
    for pair, rate in found["pairs"].items():
        print(f"{pair}: {rate['wins']} wins, {rate['losses']} losses, {rate['ties']} ties or orders that disagree")
    print(f"see {args.out / 'judged.json'}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(parse_args()))
