"""What a file may say in numbers: a network is built from them, so that none is taken that no network has."""

from collections.abc import Sequence
from math import isfinite


def require_whole(name: str, value: object, least: int, most: int) -> None:
    """Raise ValueError unless the value is a whole number from ``least`` to ``most``."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}, got {value!r:.40}.")


def require_wholes(name: str, values: object, length: range, least: int, most: int) -> None:
    """Raise ValueError unless the value is a list of so many whole numbers from ``least`` to ``most``."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) not in length:
        many = f"{length.start}" if len(length) == 1 else f"{length.start} to {length.stop - 1}"
        raise ValueError(f"{name} must be {many} whole numbers, got {values!r:.40}.")
    for value in values:
        require_whole(f"each of {name}", value, least, most)


def require_number(name: str, value: object, least: float, most: float) -> None:
    """Raise ValueError unless the value is a finite number from ``least`` to ``most``."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not isfinite(value) or not least <= value <= most:
        raise ValueError(f"{name} must be a number from {least} to {most}, got {value!r:.40}.")


def require_yes_or_no(name: str, value: object) -> None:
    """Raise ValueError unless the value is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r:.40}.")


def why(error: Exception) -> str:
    """What an error says, in one line of a sentence."""
    return f"{str(error).strip().partition(chr(10))[0]:.160}".rstrip(".") or type(error).__name__
