"""Files of torch.save, of which tensors alone are read: whatever else such a pickle names is never imported or run.

A published ``.ckpt`` often holds more than weights, such as the callbacks of the program that trained it.  torch's own
strict reading refuses it whole; here an inert stand-in is built in the place of everything that is no tensor.

A file may also be made to fill the memory, to end the process or to keep it busy for ever, which torch's own strict
reading does not see to.  So it is read by the unpickler that is written in Python, which sets nothing aside for places
that a file merely names; and its tuples are told apart and shown by where they lie, for to compare or write out what
they hold may take a stack, or a time, that no machine has.
"""

import logging
import pickle
import re
import struct
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch

logger = logging.getLogger(__name__)

# All that may be called: what a tensor is put together with from the bytes beside the pickle.
REBUILDS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter")
TUPLES = (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)  # how a pickle says that one is made
ZIP = b"PK\3\4"

# Nothing that a file names is run.  One that names these was made to do harm, which a person should know.
HARMFUL = re.compile(
    r"(os|posix|nt|sys|subprocess|shutil|socket|runpy|importlib|ctypes)\b"
    r"|(builtins|__builtin__)\.(eval|exec|execfile|compile|open|__import__|breakpoint)$"
)


class Odd(Exception):
    """What a file is that torch.save does not write, and what to do."""


# What torch.load and the pickle module raise over bytes that are no such file, or a damaged or a crafted one.
UNREADABLE = (
    Odd,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
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


class Tuple(tuple):
    """A tuple that equals itself alone and is not written out."""

    __eq__, __ne__, __hash__, __repr__ = object.__eq__, object.__ne__, object.__hash__, object.__repr__


def read_pickle(path: Path) -> object:
    """What a file of torch.save holds, on the CPU, with stand-ins for all that is neither a tensor nor plain data.

    Logs what was left out.  Raises ValueError for a file that is damaged, is none of torch.save's or asks for
    something that only harm is done with.
    """
    found: dict[str, type] = {}
    try:
        _require_plain(path)
        stored = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_tensors_only(found))
    except UNREADABLE as err:
        raise _harmful(path, found) or _unreadable(path, err) from err
    if harm := _harmful(path, found):
        raise harm
    if found:
        logger.warning("%s: tensors alone were read; left out: %s.", path.name, ", ".join(found))
    return stored


def _require_plain(path: Path) -> None:
    """Raise ``Odd`` for what torch.load would unpack or run, where torch.save writes every number as it is."""
    if tarfile.is_tarfile(path):
        raise Odd("be a file written by torch.save, got a tar: download it again")
    with path.open("rb") as file:
        if file.read(len(ZIP)) != ZIP:
            return
    with zipfile.ZipFile(path) as file:
        parts = file.infolist()
    if any(part.filename.endswith("constants.pkl") for part in parts):
        raise Odd("hold weights, got a TorchScript program: take the file of its weights")
    packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
    if packed or sum(part.file_size for part in parts) > path.stat().st_size:
        raise Odd("be a file written by torch.save, got a packed one: download it again")


def _tensors_only(found: dict[str, type]) -> SimpleNamespace:
    """A pickle module for torch.load that finds nothing but tensors; ``found`` gets the stand-ins that it gave."""

    class Unpickler(pickle._Unpickler):
        dispatch = pickle._Unpickler.dispatch | {code[0]: _own_tuple(code) for code in TUPLES}
        dispatch |= {pickle.BINPERSID[0]: _plain_storage, pickle.BUILD[0]: _changes_no_class}

        def find_class(self, module: str, name: str) -> object:
            if (module, name) == ("collections", "OrderedDict"):
                return OrderedDict
            if module == "torch._utils" and name in REBUILDS:
                return partial(getattr(torch._utils, name))  # a fresh one, which a file cannot spoil for others
            if (module, name) == ("torch.storage", "UntypedStorage"):
                return torch.UntypedStorage  # that of fp8, which torch.load compares with
            if module == "torch" and isinstance(vars(torch).get(name), torch.dtype):
                return getattr(torch, name)
            path = f"{module}.{name}"
            return found.setdefault(path, type(name, (StandIn,), {"__module__": module}))

    return SimpleNamespace(
        __name__=__name__, Unpickler=Unpickler, load=lambda file, **named: Unpickler(file, **named).load()
    )


def _own_tuple(code: bytes) -> Callable[[pickle._Unpickler], None]:
    """How one of ``TUPLES`` is carried out."""
    usual = pickle._Unpickler.dispatch[code[0]]

    def load(unpickler: pickle._Unpickler) -> None:
        usual(unpickler)
        unpickler.stack[-1] = Tuple(unpickler.stack[-1])

    return load


def _plain_storage(unpickler: pickle._Unpickler) -> None:
    """Look a storage up by its kind, place and size; torch writes whatever else stands there into its error."""
    if any(isinstance(part, (tuple, list, dict, set, frozenset)) for part in unpickler.stack[-1]):
        raise pickle.UnpicklingError("a storage must be named by plain values.")
    pickle._Unpickler.dispatch[pickle.BINPERSID[0]](unpickler)


def _changes_no_class(unpickler: pickle._Unpickler) -> None:
    """Fill an object; a class would stay changed for whoever uses it next."""
    if isinstance(unpickler.stack[-2], type):
        raise pickle.UnpicklingError("a class must stay as it is.")
    pickle._Unpickler.dispatch[pickle.BUILD[0]](unpickler)


def _harmful(path: Path, found: dict[str, type]) -> ValueError | None:
    wanted = next((name for name in found if HARMFUL.match(name)), None)
    return wanted and ValueError(f"{path.name} must hold tensors only, but wants to run {wanted}; refused.")


def _unreadable(path: Path, err: Exception) -> ValueError:
    if isinstance(err, Odd):
        return ValueError(f"{path.name} must {err}.")
    rule = f"{path.name} must be a whole file written by torch.save"
    return ValueError(f"{rule}, got one that cannot be read: download it again.")
