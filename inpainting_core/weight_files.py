"""Weights wherever they lie: a single file, or a model's folder with one file, one of several variants, or shards."""

import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from inpainting_core.quantised import widened
from inpainting_core.state_dicts import read_json, read_state_dict

STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
ENDINGS = (".safetensors", ".bin")

# As diffusers and transformers name them: STEM.VARIANT.ENDING, an index of shards STEM.ENDING.index.VARIANT.json, and
# older ones STEM.ENDING.VARIANT.index.json.
STEM, ENDING = rf"(?P<stem>{'|'.join(STEMS)})", rf"(?P<ending>{'|'.join(map(re.escape, ENDINGS))})"
WHOLE = re.compile(rf"{STEM}(\.(?P<variant>[^.]+))?{ENDING}")
INDEX = re.compile(rf"{STEM}{ENDING}(\.(?P<older>[^.]+))?\.index(\.(?P<variant>[^.]+))?\.json")
SHARD = re.compile(r"-\d+-of-\d+\.")

# Which one of a folder is read.  Weights of before their average come last: they are there to be trained on.
PREFERRED, LAST = ("", "fp32", "ema", "fp16", "bf16"), "non_ema"


def read_weights(path: Path, ordered_names: Sequence[str] = ()) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Name -> tensor and the metadata of a file, or of a network's own folder; fp8 is widened.

    Of a folder's variants the plain one is read, else fp32, ema, fp16, bf16, any other by name, non_ema; of one
    variant's files safetensors before pickles, whole before shards.  ``ordered_names`` as in ``read_state_dict``.
    Raises FileNotFoundError for a folder without weights and for a shard that is missing, and ValueError for an index
    that names anything but files beside it, besides what ``read_state_dict`` raises.
    """
    if not path.is_dir():
        tensors, metadata = read_state_dict(path, ordered_names)
        return widened(tensors, metadata, path.name), metadata
    chosen = _chosen(path)
    shards = chosen.suffix == ".json"
    tensors, metadata = _read_shards(chosen) if shards else read_state_dict(chosen, ordered_names)
    return widened(tensors, metadata, _name(path)), metadata


def _chosen(folder: Path) -> Path:
    """The file, or the index of shards, that a folder's weights are read from."""
    files = sorted(file.name for file in folder.iterdir())
    ranked = [(rank, file) for file in files if (rank := _rank(file)) and (folder / file).is_file()]
    if not ranked:
        names = ", ".join((STEMS[0] + ENDINGS[0], STEMS[1] + ENDINGS[0], STEMS[2] + ENDINGS[1]))
        rule = f"its weights in one of {names}, in a variant of one or in shards with their index"
        raise FileNotFoundError(f"{_name(folder)} must hold {rule}; found: {', '.join(files) or 'nothing'}.")
    # People fetch one variant's shards and every index, so one whose shards are not there is the last to be taken.
    ranked = [(bool(_missing(folder / file)), rank, file) for rank, file in ranked]
    return folder / min(ranked)[-1]


def _name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _rank(file: str) -> tuple | None:
    """The lower the better; None for a file that holds no weights, or a part of them."""
    found = WHOLE.fullmatch(file) or INDEX.fullmatch(file)
    if found is None or SHARD.search(file):
        return None
    variant = found["variant"] or found.groupdict().get("older") or ""
    place = PREFERRED.index(variant) if variant in PREFERRED else len(PREFERRED) + (variant == LAST)
    return place, variant, ENDINGS.index(found["ending"]), file.endswith(".json"), STEMS.index(found["stem"])


def _missing(file: Path) -> list[str]:
    """The shards that an index names and that are not beside it; none for weights in one file."""
    if file.suffix != ".json":
        return []
    return [shard for shard in _shards(file) if not (file.parent / shard).is_file()]


def _shards(index: Path) -> list[str]:
    """The files that an index names.  Raises ValueError unless they lie beside it."""
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(file, str) for file in named.values()):
        raise ValueError(f"{index.name} must say in its weight_map which file holds which weight, got {named!r:.80}.")
    for file in named.values():
        if file in ("", ".", "..") or re.search(r"[/\\:]", file):
            raise ValueError(f"{index.name} must name files that lie beside it, got {file!r}.")
    return sorted(set(named.values()))


def _read_shards(index: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if missing := _missing(index):
        raise FileNotFoundError(f"{_name(index.parent)} lacks {missing[0]}, a part of its weights: download it too.")
    tensors, metadata = {}, {}
    for file in _shards(index):
        part, told = read_state_dict(index.parent / file)
        tensors, metadata = tensors | part, metadata | told
    return tensors, metadata
