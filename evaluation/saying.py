"""What the scripts here say while they work, and how one ends that was interrupted."""

import sys

from tqdm import tqdm

INTERRUPTED = 130  # as a shell has it


def say(line: str) -> None:
    """Above the progress bar, without breaking it."""
    tqdm.write(line, file=sys.stderr)
