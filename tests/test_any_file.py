"""Whatever a file of weights holds, it is read or refused in one sentence that names it, and it can ask for nothing."""

import copy
import json
import re
import socket
import struct
from argparse import Namespace
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import pytest
import torch
from checkpoint_files import CONFIG, clip_weights, diffusers_folder, known, single_file  # noqa: F401
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save_file
from test_detectron2_keys import as_detectron2
from tiny import tiny_checkpoint, tiny_detector
from torch import Tensor

from inpainting_core import state_dicts
from inpainting_core.checkpoint import METADATA, Checkpoint, read_checkpoint, write_checkpoint
from inpainting_core.engine import DiffusersEngine
from yoeo_core.detector import METADATA as DETECTOR
from yoeo_core.detector import load_detector, write_detector

PLACES = 50  # where a file is cut off
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 70), st.integers(), st.floats(), st.text(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=4,
)
LONG_S = 200  # for each of the three long runs: ten minutes together
SECONDS = pytest.mark.parametrize("seconds", [0, pytest.param(LONG_S, marks=pytest.mark.full)])


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small model and a small detector in each form that is one file, by the file's name."""
    folder, checkpoint, detector = tmp_path_factory.mktemp("forms"), tiny_checkpoint(CONFIG), tiny_detector()
    write_checkpoint(folder / "ours.safetensors", checkpoint)
    text = {f"cond_stage_model.model.{key}": value for key, value in clip_weights().items() if "token_emb" not in key}
    save_file(single_file(checkpoint) | text, folder / "published.safetensors")
    torch.save({"state_dict": single_file(checkpoint), "x": Namespace(seed=3)}, folder / "published.ckpt")
    torch.save({"model": checkpoint.unet}, folder / "unet.pt", _use_new_zipfile_serialization=False)
    write_detector(folder / "detector.safetensors", detector, torch.float32)
    torch.save({"model": as_detectron2(detector.network, folder / "network")}, folder / "detector.pth")
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def how(seconds: int) -> dict:
    """Hypothesis's settings: a few files, the same ones each time, or a hundred others in each round of a long run."""
    count = 100 if seconds else 25
    return dict(max_examples=count, deadline=None, derandomize=not seconds, suppress_health_check=list(HealthCheck))


def rounds(seconds: int) -> Iterator[int]:
    """Numbers from 0 on until the time is over, at least one: hypothesis knows no end but a number of files."""
    end, number = monotonic() + seconds, 0
    while number == 0 or monotonic() < end:
        yield number
        number += 1
    print(f"{number} rounds in {seconds} s")


def read(path: Path) -> None:
    """What a loader does, up to a network that could run."""
    if path.name.startswith("detector"):
        load_detector(path)
    else:
        DiffusersEngine.of(read_checkpoint(path, base()))


@cache
def base() -> Checkpoint:
    return tiny_checkpoint(CONFIG)


def reads_or_says_why_not(name: str, content: bytes) -> bool:
    """Whether it is read; fails on anything but one sentence that names the file or its text encoder."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            read(path)
        except ValueError as error:
            said = str(error)
            assert re.match(rf"{re.escape(name)} |the text encoder ", said), said
            assert len(said) < 600 and not re.search(r"\n|zip\(\)|unpack \(", said), said
            return False
        return True


def with_header(content: bytes, change) -> bytes:
    """A safetensors file with its header, as Python's objects, changed in place by ``change``."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    change(header)
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + content[8 + length :]


def saying(key: str, place: tuple, value: object):
    """A change of a header: of what its metadata says under ``key``, another value at one place."""

    def change(header: dict) -> None:
        said = json.loads(header["__metadata__"][key])
        inner = said
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
        header["__metadata__"][key] = json.dumps(said)

    return change


# cut off


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    "name", ["ours.safetensors", "published.ckpt", "unet.pt", "detector.safetensors", "detector.pth"]
)
def test_a_file_cut_off_anywhere_is_refused(forms: dict, name: str):
    whole = forms[name]
    for place in range(PLACES):
        assert not reads_or_says_why_not(name, whole[: len(whole) * place // PLACES]), place
    assert not reads_or_says_why_not(name, whole[:-1])


# made up


@pytest.mark.parametrize("least", [2**24, 2**63, 2**64 - 1])
def test_a_header_of_another_size_than_the_file_has_is_refused(forms: dict, least: int):
    whole = forms["ours.safetensors"]
    assert not reads_or_says_why_not("ours.safetensors", struct.pack("<Q", least) + whole[8:])
    (length,) = struct.unpack_from("<Q", whole)
    padded = whole[8 : 8 + length] + b" " * 2**24
    reads_or_says_why_not("ours.safetensors", struct.pack("<Q", len(padded)) + padded + whole[8 + length :])


@pytest.mark.parametrize(
    "entry",
    [{"shape": [-1]}, {"shape": [2**62, 2**62]}, {"shape": [1]}, {"dtype": "F8_E4M3"}, {"dtype": "X"}]
    + [{"data_offsets": [0, 2**60]}, {"data_offsets": [9, 1]}, {"data_offsets": [4, 8]}, {"shape": "x"}],
    ids=str,
)
def test_a_header_that_lies_about_a_tensor_is_refused(forms: dict, entry: dict):
    first = lambda header: next(key for key in header if key != "__metadata__")  # noqa: E731
    lying = with_header(forms["ours.safetensors"], lambda header: header[first(header)].update(entry))
    assert not reads_or_says_why_not("ours.safetensors", lying)


HUGE = 10**9
IMPOSSIBLE = [
    *[("unet", name, value) for name in ("layers", "context_dim", "in_channels") for value in (-1, HUGE, "x", [])],
    *[("unet", name, value) for name in ("channels", "attention", "depth") for value in ([], [HUGE] * 2, "ab", {}, 3)],
    ("unet", "channels", [32] * 10**5), ("unet", "channels", [33, 64]), ("unet", "head_dim", 7),
    ("unet", "head_dim", 0), ("unet", "heads", 4), ("unet", "heads", "x"),
    *[("vae", name, value) for name in ("layers", "channels", "kind", "scale") for value in (HUGE, "x", [], None)],
    ("vae", "scale", 0), ("vae", "scale", float("nan")), ("vae", "scale", float("inf")), ("vae", "needs_fp32", 3),
    *[("resolution", value) for value in (0, -64, HUGE, "x", None)], *[("draws", value) for value in (0, HUGE, 1.5)],
    ("unet", None), ("vae", []), ("prediction", []), ("texture", {}), ("under_hole", "x"), ("training", []),
    ("more", 1),
]  # fmt: skip


@pytest.mark.parametrize("said", IMPOSSIBLE, ids=lambda said: f"{said!r:.50}")
def test_a_model_that_cannot_be_is_refused_by_what_it_says_of_itself(forms: dict, said: tuple):
    lying = with_header(forms["ours.safetensors"], saying(METADATA, said[:-1], said[-1]))
    assert not reads_or_says_why_not("ours.safetensors", lying)


NETWORK, SWIN = ("network",), ("network", "backbone_config")
IMPOSSIBLE_DETECTORS = [
    *[(*NETWORK, name, value) for name in ("num_queries", "hidden_dim", "encoder_layers") for value in (0, HUGE, "x")],
    *[(*NETWORK, name, value) for name in ("num_attention_heads", "decoder_layers") for value in (0, 7.5, HUGE, None)],
    *[(*SWIN, name, value) for name in ("embed_dim", "patch_size", "window_size") for value in (0, HUGE, "x")],
    *[(*SWIN, name, value) for name in ("depths", "num_heads") for value in ([], [HUGE] * 4, [0] * 4, "abcd")],
    (*SWIN, "embed_dim", 1024), (*NETWORK, "num_labels", HUGE), (*NETWORK, "activation_function", "os.system"),
    *[("preprocessing", side, value) for side in ("short_side", "long_side", "multiple") for value in (0, HUGE, "x")],
    *[("preprocessing", name, value) for name in ("mean", "std") for value in ([1], "abc", [None] * 3)],
    ("preprocessing", "std", [0, 0, 0]), ("preprocessing", None), ("network", None), ("network", []), (*SWIN, None),
]  # fmt: skip


@pytest.mark.parametrize("said", IMPOSSIBLE_DETECTORS, ids=lambda said: f"{said!r:.50}")
def test_a_detector_that_cannot_be_is_refused_by_what_it_says_of_itself(forms: dict, said: tuple):
    lying = with_header(forms["detector.safetensors"], saying(DETECTOR, said[:-1], said[-1]))
    assert not reads_or_says_why_not("detector.safetensors", lying)


@pytest.mark.parametrize("name", ["ours.safetensors", "detector.safetensors"])
def test_what_a_file_says_of_itself_may_be_nested_without_end(forms: dict, name: str):
    key = METADATA if name.startswith("ours") else DETECTOR
    nested = with_header(forms[name], lambda header: header["__metadata__"].update({key: "[" * 10**5}))
    assert not reads_or_says_why_not(name, nested)


# asking for other places

PLACES_TO_FETCH = [
    {"backbone_config": None, "backbone": "microsoft/resnet-50", "use_pretrained_backbone": True},
    {"backbone_config": None, "backbone": "resnet18", "use_timm_backbone": True, "use_pretrained_backbone": True},
    {"backbone_config": {"model_type": "timm_backbone", "backbone": "resnet18", "use_pretrained_backbone": True}},
    {"attn_implementation": "kernels-community/flash-attn"},
    {"_attn_implementation": "kernels-community/flash-attn"},
    {"auto_map": {"AutoModel": "somebody/else--model.Model"}, "_name_or_path": "somebody/else"},
    {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
]


@pytest.mark.parametrize("asked", PLACES_TO_FETCH, ids=lambda asked: f"{asked!r:.60}")
@pytest.mark.parametrize("in_a_folder", [True, False])
def test_a_detector_has_nothing_fetched_and_no_other_code_run(
    forms: dict, asked: dict, in_a_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def nowhere(host, *rest, **also):
        raise AssertionError(f"{host} was asked for")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    if in_a_folder:
        tiny_detector().network.save_pretrained(tmp_path)
        said = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(said | asked))
        path = tmp_path
    else:

        def change(header: dict) -> None:
            for name, value in asked.items():
                saying(DETECTOR, ("network", name), value)(header)

        path = tmp_path / "detector.safetensors"
        path.write_bytes(with_header(forms["detector.safetensors"], change))
    try:
        read_one, expected = load_detector(path), tiny_detector()
    except ValueError as error:
        assert "backbone" in str(error)
    else:
        assert read_one.network.config._attn_implementation in ("eager", "sdpa")
        pixels = torch.rand(1, 3, 64, 64)
        ours, theirs = (one.network(pixel_values=pixels).masks_queries_logits for one in (read_one, expected))
        assert torch.equal(ours, theirs)


# anything at all


@SECONDS
@pytest.mark.usefixtures("known")
def test_what_anybody_says_in_a_header_is_read_or_refused(forms: dict, seconds: int):
    @settings(**how(seconds))
    @given(st.sampled_from([("ours.safetensors", METADATA), ("detector.safetensors", DETECTOR)]), st.data())
    def check(which: tuple[str, str], data: st.DataObject):
        name, key = which

        def change(header: dict) -> None:
            said = json.loads(header["__metadata__"][key])
            inner = said
            while True:
                at = data.draw(st.sampled_from(sorted(inner)))
                if not isinstance(inner[at], dict) or not inner[at] or data.draw(st.integers(0, 5)) == 0:
                    break
                inner = inner[at]
            inner[at] = data.draw(JSON)
            header["__metadata__"][key] = json.dumps(said)

        reads_or_says_why_not(name, with_header(forms[name], change))

    for _ in rounds(seconds):
        check()


@SECONDS
@pytest.mark.usefixtures("known")
def test_files_with_other_tensors_than_theirs_are_read_or_refused(forms: dict, seconds: int):
    names = ["ours.safetensors", "published.safetensors", "unet.pt", "detector.safetensors", "detector.pth"]
    loaded = {name: tensors_of(forms[name]) for name in names}

    @settings(**how(seconds))
    @given(st.sampled_from(names), st.data())
    def check(name: str, data: st.DataObject):
        tensors = dict(loaded[name])
        for _ in range(data.draw(st.integers(1, 3))):
            key = data.draw(st.sampled_from(sorted(tensors)))
            changed = data.draw(st.sampled_from(sorted(TENSORS)))
            value = TENSORS[changed](tensors.pop(key))
            if value is not None:
                tensors[key] = value
        reads_or_says_why_not(name, file_of(name, tensors, forms[name]))

    for _ in rounds(seconds):
        check()


TENSORS = {
    "missing": lambda x: None,
    "one number": lambda x: torch.ones(()),
    "none": lambda x: x[:0] if x.ndim else None,
    "flat": lambda x: x.flatten(),
    "shorter": lambda x: x[:-1].clone() if x.ndim and len(x) else x,
    "deeper": lambda x: x[None],
    "turned": lambda x: x.transpose(0, -1).contiguous() if x.ndim else x,
    "whole numbers": lambda x: x.int(),
    "fp8": lambda x: x.to(torch.float8_e4m3fn),
    "half": lambda x: x.half(),
    "NaN": lambda x: x * torch.nan,
}


def tensors_of(content: bytes) -> dict[str, Tensor]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(content)
        if content[8:9] == b"{":
            return load(content)
        return torch.load(path, weights_only=True)["model"]


def file_of(name: str, tensors: dict[str, Tensor], before: bytes) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        if path.suffix != ".safetensors":
            torch.save({"model": tensors}, path)
            return path.read_bytes()
        (length,) = struct.unpack_from("<Q", before)
        save_file(tensors, path, json.loads(before[8 : 8 + length]).get("__metadata__"))
        return path.read_bytes()


@SECONDS
@pytest.mark.usefixtures("known")
def test_damaged_bytes_are_read_or_refused(forms: dict, seconds: int):
    @settings(**how(seconds))
    @given(st.sampled_from(sorted(forms)), st.data())
    def check(name: str, data: st.DataObject):
        content = bytearray(forms[name])
        near = data.draw(st.sampled_from([60, 3000, len(content)]))
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, min(near, len(content)) - 1))] = data.draw(st.integers(0, 255))
        reads_or_says_why_not(name, bytes(content))

    for _ in rounds(seconds):
        check()


# while it is read, and afterwards


def test_a_detector_stays_as_it_was_read_whatever_becomes_of_its_file(forms: dict, tmp_path: Path):
    """safetensors gives views of the file, and an editor or a download may write into it."""
    path = tmp_path / "detector.safetensors"
    path.write_bytes(forms["detector.safetensors"])
    detector = load_detector(path)
    before = copy.deepcopy(detector.state_dict())
    with path.open("r+b") as file:
        file.seek(len(forms["detector.safetensors"]) // 4)
        file.write(bytes(len(forms["detector.safetensors"]) // 2))
    assert all(torch.equal(value, before[key]) for key, value in detector.state_dict().items())


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_is_written_to_while_it_is_read_is_refused(
    forms: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
):
    path, opened = tmp_path / "ours.safetensors", state_dicts.safe_open
    path.write_bytes(forms["ours.safetensors"])

    def opened_in_between(*given, **named):
        found = opened(*given, **named)
        if replaced:
            (tmp_path / "new").write_bytes(forms["ours.safetensors"])
            (tmp_path / "new").replace(path)
        else:
            with path.open("ab") as file:
                file.write(b"more")
        return found

    monkeypatch.setattr(state_dicts, "safe_open", opened_in_between)
    with pytest.raises(ValueError, match="ours.safetensors must stay as it is while it is read, but it was written to"):
        read_checkpoint(path)
