"""What is said where the device's memory was not enough."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

NOT_ENOUGH = (
    "The device's memory was not enough, not even for one candidate of one picture at a time: lower the resolution, or "
    "free some memory, such as by starting ComfyUI with --lowvram."
)


@contextmanager
def said_where_memory_ends() -> Iterator[None]:
    """A block in which networks run.  Raises torch's OutOfMemoryError, at which ComfyUI unloads all models."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise torch.cuda.OutOfMemoryError(NOT_ENOUGH) from error
