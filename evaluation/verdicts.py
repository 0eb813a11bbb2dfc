"""What a judge's answers come to: rates of success, and wins of pairs whose two orders agree."""

import math
import re
from collections import defaultdict

from evaluation.questions import Question
from evaluation.statistics import mean_of

WORD = re.compile(r"[a-z]+")


def verdicts(questions: list[Question], answers: dict[str, dict]) -> dict:
    """Rates with bootstrap intervals over pictures; ``unread`` counts answers that say neither."""
    said = {(question.name, question.methods): word_of(answers.get(question.key)) for question in questions}
    unread = sum(word is not None and word not in allowed(methods) for (_, methods), word in said.items())
    success, orders = defaultdict(list), defaultdict(dict)
    for (name, methods), word in said.items():
        if len(methods) == 1:
            success[methods[0]].append({"yes": 1.0, "no": 0.0}.get(word, math.nan))
        else:
            orders[methods][name] = {"a": 1, "b": -1, "same": 0}.get(word)
    places = {methods: place for place, methods in enumerate(orders)}
    first = [methods for methods in orders if places[methods] < places[methods[::-1]]]
    return {
        "success": {method: mean_of(values) for method, values in success.items()},
        "pairs": {" against ".join(methods): pair(orders[methods], orders[methods[::-1]]) for methods in first},
        "unread": unread,
        "unanswered": sum(word is None for word in said.values()),
    }


def allowed(methods: tuple[str, ...]) -> tuple[str, ...]:
    return ("yes", "no") if len(methods) == 1 else ("a", "b", "same")


def word_of(answer: dict | None) -> str | None:
    """The first word of an answer in small letters; None where there is no answer."""
    if answer is None:
        return None
    found = WORD.search(answer["text"].lower())
    return found[0] if found else ""


def pair(there: dict[str, int | None], back: dict[str, int | None]) -> dict:
    """Wins of the first over pictures that were answered in both orders; where the orders disagree nobody wins."""
    both = {name: (there[name], -back[name]) for name in there if None not in (there[name], back.get(name))}
    score = [one if one == other else 0 for one, other in both.values()]
    return mean_of([float(value) for value in score]) | {
        "wins": score.count(1),
        "losses": score.count(-1),
        "ties": score.count(0),
        "orders_disagree": sum(one != other for one, other in both.values()),
    }
