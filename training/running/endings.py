"""How a script ends: a person's mistake is one line, and so is what ends a run before its last step."""

import argparse
import pickle
import sys
from collections.abc import Callable

from safetensors import SafetensorError

MISTAKE, INTERRUPTED = 2, 130  # what argparse and a shell exit with
# what the rooms raise for a file or a flag that cannot be used; a fault of ours keeps its traceback
MISTAKES = (ValueError, OSError, SafetensorError, pickle.UnpicklingError)


class RunEnded(Exception):
    """A run's end before its last step, in a sentence; ``code`` is what the process exits with."""

    def __init__(self, sentence: str, code: int = 1):
        super().__init__(sentence)
        self.code = code


def run_script(parse_args: Callable[[], argparse.Namespace], main: Callable[[argparse.Namespace], None]) -> None:
    """Run a script; with ``--debug`` whatever ends it keeps its traceback."""
    args = parse_args()
    try:
        main(args)
    except KeyboardInterrupt:  # before the first step; from there on a run answers itself
        sys.exit(INTERRUPTED)
    except (RunEnded, *MISTAKES) as error:
        if args.debug:
            raise
        sentence = one_line(error)
        print(sentence if isinstance(error, RunEnded) else f"error: {sentence}", file=sys.stderr)
        sys.exit(error.code if isinstance(error, RunEnded) else MISTAKE)


def one_line(error: Exception) -> str:
    """What an error says; of one that came from a process that prepares pictures, less the traceback it brings."""
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:
        text = text.splitlines()[-1]
    return " ".join(text.split()) or type(error).__name__
