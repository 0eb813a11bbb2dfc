"""Files of torch.save, of which tensors alone are read: whatever else such a pickle names is never imported or run.

A published ``.ckpt`` often holds more than weights, such as the callbacks of the program that trained it.  torch's own
strict reading refuses it whole; here an inert stand-in is built in the place of everything that is no tensor.
"""

import logging
import pickle
import re
import struct
from collections import OrderedDict
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch

logger = logging.getLogger(__name__)

# All that may be called: what a tensor is put together with from the bytes beside the pickle.
REBUILDS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")

# Nothing that a file names is run.  One that names these was made to do harm, which a person should know.
HARMFUL = re.compile(
    r"(os|posix|nt|sys|subprocess|shutil|socket|runpy|importlib|ctypes)\b"
    r"|(builtins|__builtin__)\.(eval|exec|execfile|compile|open|__import__|breakpoint)$"
)

# What torch.load and the pickle module raise over bytes that are no such file, or a damaged or a crafted one.
UNREADABLE = (
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,
    OSError,
    EOFError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)


class StandIn:
    """An object of a foreign class, or what a foreign function gives: it takes whatever it is filled with."""

    def __new__(cls, *args: object, **named: object) -> "StandIn":
        return super().__new__(cls)

    def __init__(self, *args: object, **named: object) -> None:
        """Forget what it is made of."""

    def __call__(self, *args: object, **named: object) -> "StandIn":
        return self

    def __setstate__(self, state: object) -> None:
        """Forget what it is filled with, as the methods below do."""

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None: ...

    def extend(self, items: object) -> None: ...

    def add(self, item: object) -> None: ...


def read_pickle(path: Path) -> object:
    """What a file of torch.save holds, on the CPU, with stand-ins for all that is neither a tensor nor plain data.

    Logs what was left out.  Raises ValueError for a file that is damaged, is none of torch.save's or asks for
    something that only harm is done with.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as err:
        if not (isinstance(err, pickle.UnpicklingError) and re.search(r"GLOBAL \S", str(err))):
            raise _unreadable(path, err) from err
    # Here the error is gone, and with it the gigabytes that its traceback held.
    found: dict[str, type] = {}
    try:
        stored = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_tensors_only(found))
    except UNREADABLE as err:
        raise _harmful(path, found) or _unreadable(path, err) from err
    if harm := _harmful(path, found):
        raise harm
    logger.warning("%s: tensors alone were read; left out: %s.", path.name, ", ".join(found))
    return stored


def _tensors_only(found: dict[str, type]) -> SimpleNamespace:
    """A pickle module for torch.load that finds nothing but tensors; ``found`` gets the stand-ins that it gave."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            if (module, name) == ("collections", "OrderedDict"):
                return OrderedDict
            if module == "torch._utils" and name in REBUILDS:
                return partial(getattr(torch._utils, name))  # a fresh one, which a file cannot spoil for others
            path = f"{module}.{name}"
            return found.setdefault(path, type(name, (StandIn,), {"__module__": module}))

    return SimpleNamespace(
        __name__=__name__, Unpickler=Unpickler, load=lambda file, **named: Unpickler(file, **named).load()
    )


def _harmful(path: Path, found: dict[str, type]) -> ValueError | None:
    wanted = next((name for name in found if HARMFUL.match(name)), None)
    return wanted and ValueError(f"{path.name} must hold tensors only, but wants to run {wanted}; refused.")


def _unreadable(path: Path, err: Exception) -> ValueError:
    rule, got = f"{path.name} must be a whole file written by torch.save", "got one that cannot be read"
    if isinstance(err, pickle.UnpicklingError):
        rule, got = f"{path.name} must be a file written by torch.save", "got one that does not unpickle"
    return ValueError(f"{rule}, {got}: download it again.")
