"""Files of weights: tensors by name out of safetensors or a pickle, or one sentence why not."""

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from inpainting_core.pickles import read_pickle

logger = logging.getLogger(__name__)

SAFETENSORS = (".safetensors", ".sft")
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "unet", "shadow_params")
PREFIXES = ("module.", "_orig_mod.", "unet.", "diffusion_model.")
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
    belongs to.  Of a pickle only tensors are read, and what is left out is logged.
    Raises FileNotFoundError for a missing file and ValueError for one that is damaged or holds no tensors by name.
    """
    if not path.is_file():
        raise FileNotFoundError(f"weights must be a file that exists, got {path}.")
    _require_weights(path)
    before = _as_it_is(path)
    if path.suffix.lower() in SAFETENSORS:
        tensors, metadata = _read_safetensors(path)
    elif path.suffix.lower() in PICKLES:
        tensors, metadata = _named(_unwrapped(read_pickle(path)), ordered_names, path.name), {}
    else:
        raise ValueError(f"weights must end in one of {SAFETENSORS + PICKLES}, got {path.name}; take another version.")
    if _as_it_is(path) != before:
        raise ValueError(f"{path.name} must stay as it is while it is read, but it was written to: load it again.")
    return _without_prefixes(tensors), metadata


def read_json(path: Path) -> dict:
    """A configuration file.  Raises FileNotFoundError or ValueError in one sentence."""
    if not path.is_file():
        raise FileNotFoundError(f"a diffusers folder must hold {path.parent.name}/{path.name}, got none at {path}.")
    try:
        stored = json.loads(path.read_text())
    except OSError as err:
        raise ValueError(f"{path.name} cannot be read ({err.strerror}): see to whom {path} belongs.") from err
    except (ValueError, RecursionError) as err:
        raise ValueError(f"{path.name} must be JSON, but {path} is not ({err}).") from err
    if not isinstance(stored, dict):
        raise ValueError(f"{path.name} must hold a JSON object, but {path} holds {stored!r:.40}.")
    return stored


def fitting(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], source: str) -> dict[str, Tensor]:
    """The expected weights, whatever else there is.  Raises ValueError naming the first one that does not fit."""
    for key, shape in expected.items():
        if key not in tensors:
            raise ValueError(f"{source} must hold {key} of shape {shape}, but has no such key.")
        if tuple(tensors[key].shape) != shape:
            raise ValueError(f"{source} must hold {key} of shape {shape}, got {tuple(tensors[key].shape)}.")
        if not tensors[key].is_floating_point():
            rule = f"{source} must hold {key} in floating point"
            raise ValueError(f"{rule}, got {tensors[key].dtype}, a form that is not read; take its fp16 version.")
    return {key: tensors[key] for key in expected}


def require_nothing_else(strays: Collection[str], source: str) -> None:
    """Raise ValueError with the first of the keys that a file of ours should not hold."""
    for key in strays:
        raise ValueError(f"{source} must hold nothing but its model's weights, got {key} too.")


def tell_left_out(strays: Collection[str], source: str) -> None:
    """Log what a file of somebody else's holds besides: the loss, an average, counters of a training."""
    for key in list(strays)[:1]:
        logger.warning("%s: left out %d keys that belong to no layer, such as %s.", source, len(strays), key)


def _require_weights(path: Path) -> None:
    """Raise ValueError for what may not be read, and what a download that went wrong leaves in the place of weights."""
    try:
        with path.open("rb") as file:
            head = file.read(200)
    except OSError as err:
        raise ValueError(f"{path.name} cannot be read ({err.strerror}): see to whom it belongs.") from err
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path.name} is a Git LFS pointer, not the file that it stands for: download that one.")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(f"{path.name} is a web page, not weights: download the file itself.")
    if not head:
        raise ValueError(f"{path.name} must be a file of weights, got an empty one: download it again.")


def _as_it_is(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written to or replaced; None where there is none."""
    if not path.exists():
        return None
    state = path.stat()
    return state.st_ino, state.st_mtime_ns, state.st_size


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES + 1)
    if head[HEADER_BYTES:] != b"{":
        raise ValueError(f"{path.name} must be a safetensors file, got one that begins with {head!r}.")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
    except SafetensorError as err:
        rule = f"{path.name} must be a whole safetensors file"
        raise ValueError(f"{rule}, got a damaged one ({err}): download it again.") from err


def _unwrapped(stored: object) -> object:
    """What lies in the innermost wrapper: ``{"state_dict": ...}``, ``{"model": ...}``, ``{"shadow_params": [...]}``."""
    for _ in WRAPPERS:  # so often at most: a wrapper may hold itself
        if not isinstance(stored, dict):
            return stored
        name = next((name for name in WRAPPERS if isinstance(stored.get(name), (dict, list))), None)
        if name is None:
            return stored
        logger.info("Read the %s of %s.", name, ", ".join(key for key in stored if isinstance(key, str)))
        stored = stored[name]
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
    named = {key: value for key, value in stored.items() if isinstance(key, str) and isinstance(value, Tensor)}
    # only names are written out: what else a pickle has for a key may have no end
    tell_left_out([key if isinstance(key, str) else type(key).__name__ for key in stored if key not in named], source)
    return named


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off what DistributedDataParallel, torch.compile and wrapping modules put before all names but a few."""
    shared = next((p for p in PREFIXES if 2 * sum(key.startswith(p) for key in tensors) > len(tensors)), None)
    if shared is None:
        return tensors
    return _without_prefixes({key.removeprefix(shared): value for key, value in tensors.items()})
