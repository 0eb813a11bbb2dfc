"""The values that a flag may have: each gives the number, or raises argparse's error with the rule."""

import argparse
import math
from collections.abc import Callable


def positive(text: str) -> int:
    """A whole number from 1."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """A whole number from 0."""
    return _whole(text, 0)


def not_negative(text: str) -> float:
    """A number from 0, inf included."""
    return _number(text, "a number from 0", lambda number: number >= 0)


def above_zero(text: str) -> float:
    """A number above 0, inf included."""
    return _number(text, "a number above 0", lambda number: number > 0)


def share(text: str) -> float:
    """A number from 0 to 1."""
    return _number(text, "a number from 0 to 1", lambda number: 0 <= number <= 1)


def decay(text: str) -> float:
    """Of an average: how much of it is kept at each step."""
    return _number(text, "a number from 0 to below 1", lambda number: 0 <= number < 1)


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least}, got {text}.")
    return number


def _number(text: str, rule: str, fits: Callable[[float], bool]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not fits(number):
        raise argparse.ArgumentTypeError(f"must be {rule}, got {text}.")
    return number
