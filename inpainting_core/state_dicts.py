"""Files of weights, read strictly: tensors by name out of safetensors or a pickle, or one sentence why not."""

import json
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

SAFETENSORS = (".safetensors", ".sft")
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
WRAPPERS = ("state_dict", "model", "shadow_params")
PREFIXES = ("module.", "_orig_mod.", "unet.")
HEADER_BYTES = 8  # the length that a safetensors file begins with; its JSON header follows


def write_state_dict(path: Path, tensors: Mapping[str, Tensor], described: dict, key: str) -> None:
    """Write a safetensors file with ``described`` as JSON under ``key`` of its metadata; the inverse of reading.

    It is moved into place when it is whole, so that a run that is killed leaves no half of it, and may be read by
    whoever may read the user's other files: safetensors itself writes for the owner alone.
    """
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.touch()
    usual = unfinished.stat().st_mode
    save_file(dict(tensors), unfinished, metadata={key: json.dumps(described), "format": "pt"})
    unfinished.chmod(usual)
    unfinished.replace(path)


def read_state_dict(path: Path, ordered_names: Sequence[str] = ()) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Name -> tensor and the file's metadata; wrappers are opened and wrapping prefixes taken off.

    ``ordered_names`` are the parameters of the network that an EMA's list without names (``shadow_params``)
    belongs to.  A pickle is read with ``weights_only=True``.
    Raises FileNotFoundError for a missing file and ValueError for one that is damaged or holds more than tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"weights must be a file that exists, got {path}.")
    if path.suffix.lower() in SAFETENSORS:
        tensors, metadata = _read_safetensors(path)
    elif path.suffix.lower() in PICKLES:
        tensors, metadata = _named(_unwrapped(_read_pickle(path)), ordered_names, path.name), {}
    else:
        raise ValueError(f"weights must end in one of {SAFETENSORS + PICKLES}, got {path.name}.")
    return _without_prefixes(tensors), metadata


def read_json(path: Path) -> dict:
    """A configuration file.  Raises FileNotFoundError or ValueError in one sentence."""
    if not path.is_file():
        raise FileNotFoundError(f"a diffusers folder must hold {path.parent.name}/{path.name}, got none at {path}.")
    try:
        return json.loads(path.read_text())
    except ValueError as err:
        raise ValueError(f"{path.name} must be JSON, but {path} is not ({err}).") from err


def require_fit(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Raise ValueError naming the first expected key that is missing or misshapen, else the first one too many."""
    for key, shape in expected.items():
        if key not in tensors:
            raise ValueError(f"{source} must hold {key} of shape {shape}, but has no such key.")
        if tuple(tensors[key].shape) != shape:
            raise ValueError(f"{source} must hold {key} of shape {shape}, got {tuple(tensors[key].shape)}.")
    for key in tensors:
        if key not in expected:
            raise ValueError(f"{source} must hold nothing but its network's weights, got {key} too.")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES + 1)
    if head[HEADER_BYTES:] != b"{":
        raise ValueError(f"{path.name} must be a safetensors file, got one that begins with {head!r}.")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
    except SafetensorError as err:
        raise ValueError(f"{path.name} must be a whole safetensors file, got a damaged one ({err}).") from err


def _read_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as err:
        wanted = re.search(r"GLOBAL (\S+)", str(err))
        if wanted:
            raise ValueError(f"{path.name} must hold tensors only, but wants to run {wanted[1]}; refused.") from err
        raise ValueError(f"{path.name} must be a file written by torch.save, got one that does not unpickle.") from err
    except (RuntimeError, OSError, EOFError) as err:
        raise ValueError(
            f"{path.name} must be a whole file written by torch.save, got one that cannot be read."
        ) from err


def _unwrapped(stored: object) -> object:
    """What lies in the innermost wrapper: ``{"state_dict": ...}``, ``{"model": ...}``, ``{"shadow_params": [...]}``."""
    while isinstance(stored, dict):
        inner = next((stored[name] for name in WRAPPERS if isinstance(stored.get(name), (dict, list))), None)
        if inner is None:
            return stored
        stored = inner
    return stored


def _named(stored: object, ordered_names: Sequence[str], source: str) -> dict[str, Tensor]:
    if isinstance(stored, list):
        if not ordered_names:
            raise ValueError(
                f"{source} holds a list of weights without names and needs a base that names them, got none."
            )
        if len(stored) != len(ordered_names):
            raise ValueError(
                f"{source} must hold its base's {len(ordered_names)} weights, got a list of {len(stored)}."
            )
        stored = dict(zip(ordered_names, stored, strict=True))
    if not isinstance(stored, dict):
        raise ValueError(f"{source} must hold tensors by name, got {type(stored).__name__}.")
    for key, value in stored.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{source} must hold nothing but tensors, got {key} of type {type(value).__name__}.")
    return stored


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off what DistributedDataParallel, torch.compile and wrapping modules put before every name."""
    shared = next((p for p in PREFIXES if tensors and all(key.startswith(p) for key in tensors)), None)
    if shared is None:
        return tensors
    return _without_prefixes({key.removeprefix(shared): value for key, value in tensors.items()})
