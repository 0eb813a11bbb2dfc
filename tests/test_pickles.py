"""Pickles that hold more than tensors: these are read, and nothing else that such a file names is ever run."""

import argparse
import io
import logging
import os
import pickle
import re
import resource
import struct
import sys
import tarfile
import types
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from checkpoint_files import assert_same, refuses, single_file
from test_refused_pictures import QUARTER

from inpainting_core.checkpoint import Checkpoint, read_checkpoint
from inpainting_core.pickles import read_pickle
from inpainting_core.state_dicts import read_state_dict

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> dict:
    """What Lightning keeps beside the weights of ``v1-5-pruned-emaonly.ckpt`` and its like."""
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")

    class ModelCheckpoint:
        def __init__(self):
            self.best_model_path = PurePosixPath("/a")

    class AttributeDict(dict):
        pass

    for kind in (ModelCheckpoint, AttributeDict):
        kind.__module__, kind.__qualname__ = module.__name__, kind.__name__
        setattr(module, kind.__name__, kind)
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    return {
        "callbacks": {ModelCheckpoint: {"best_model_score": torch.tensor(0.5), "best": np.float64(3)}},
        "instance": ModelCheckpoint(),
        "hyper_parameters": AttributeDict(lr=1e-4),
        "arguments": argparse.Namespace(seed=3),
        "counts": defaultdict(list, a=[1]),
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
        "lr_schedulers": [{"lr_lambdas": [os.path.join]}],
        "global_step": 7,
    }


@FORMATS
def test_lightnings_checkpoint_is_read_without_lightning(
    tmp_path: Path, base: Checkpoint, known: None, lightning: dict, caplog, zipped: bool
):
    path, weights = tmp_path / "sd.ckpt", OrderedDict(single_file(base))
    torch.save(lightning | {"state_dict": weights}, path, _use_new_zipfile_serialization=zipped)
    for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
        del sys.modules[name]
    with caplog.at_level(logging.WARNING):
        read = read_checkpoint(path)
    assert_same(read.unet, base.unet)
    assert_same(read.vae, base.vae)
    assert not any(name.startswith("pytorch_lightning") for name in sys.modules)
    assert "sd.ckpt: tensors alone were read; left out: " in caplog.text
    assert "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint" in caplog.text


def test_parameters_views_and_every_precision_come_as_they_were(tmp_path: Path, lightning: dict):
    shared = torch.arange(24.0).reshape(4, 6)
    kept = {"a": shared[1:, ::2], "b": shared.T, "c": torch.nn.Parameter(shared), "d": shared.bfloat16()}
    kept |= {"e": shared.double(), "f": shared.long(), "g": shared > 3, "h": shared.half()}
    torch.save(kept | lightning, tmp_path / "a.ckpt")
    read = read_pickle(tmp_path / "a.ckpt")
    assert all(read[key].dtype == value.dtype and torch.equal(read[key], value) for key, value in kept.items())


class Calling:
    """Pickled, it asks for ``function(*given)`` to be called; one of these may be the function."""

    def __init__(self, function, *given):
        self.asked = function, given

    def __reduce__(self):
        return self.asked

    def __call__(self):
        raise NotImplementedError("only what can be called is pickled as a function.")


def attacks(mark: Path) -> dict[str, object]:
    """Objects whose reading would leave a file at ``mark``."""
    code = f"open({str(mark)!r}, 'w').close()"
    return {
        "os.system": Calling(os.system, f"touch {mark}"),
        "exec": Calling(exec, code),
        "eval": Calling(eval, code),
        "open": Calling(open, str(mark), "w"),
        "getattr": Calling(Calling(getattr, Calling(__import__, "os"), "system"), f"touch {mark}"),
        "touch": Calling(Path.touch, mark),
        "numpy": Calling(np.save, str(mark), np.zeros(1)),
        "torch.save": Calling(torch.save, 3, str(mark)),
    }


NAMES = sorted(attacks(Path("x")))


@FORMATS
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["beside the weights", "as a weight", "as a key"])
def test_no_file_gets_its_code_run(tmp_path: Path, base: Checkpoint, known: None, name: str, where: str, zipped: bool):
    mark, path = tmp_path / "written", tmp_path / "a.ckpt"
    attack, weights = attacks(mark)[name], single_file(base)
    stored = {
        "beside the weights": {"attack": attack, "state_dict": weights},
        "as a weight": {"state_dict": weights | {"stray": attack}},
        "as a key": {"state_dict": weights, "callbacks": {"x": [{(attack,): 1}]}},
    }[where]
    torch.save(stored, path, _use_new_zipfile_serialization=zipped)
    before = set(tmp_path.iterdir())
    try:
        read = read_checkpoint(path)
    except ValueError as err:
        assert re.match("a.ckpt must ", str(err)) and "\n" not in str(err)
    else:
        assert_same(read.unet, base.unet)
    assert set(tmp_path.iterdir()) == before


def test_the_attacks_are_attacks(tmp_path: Path):
    """What they would do to a reader that finds what a pickle names."""
    for name in NAMES:
        mark = tmp_path / f"{name}.npy"
        pickle.load(io.BytesIO(pickle.dumps(attacks(mark)[name], protocol=2)))
        assert mark.exists()


def test_a_file_made_to_do_harm_is_refused_by_name(tmp_path: Path):
    torch.save({"state_dict": {}, "x": Calling(os.system, "true")}, tmp_path / "a.ckpt")
    refuses(tmp_path / "a.ckpt", f"a.ckpt must hold tensors only, but wants to run {os.name}.system; refused.")


@FORMATS
def test_a_pickle_cannot_change_what_rebuilds_other_files_tensors(tmp_path: Path, lightning: dict, zipped: bool):
    """BUILD may lay attributes on whatever lies on the stack, functions and classes too."""
    rebuild = torch._utils._rebuild_tensor_v2
    before, defaults = dict(vars(rebuild)), rebuild.__defaults__
    for target in (b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"cx\nY\n", STORAGE):
        stranger, state = b"cx\nY\n0", b"N}U\x0c__defaults__K\x01\x85s\x86"
        body = b"\x80\x02" + stranger + target + state + b"b."
        with pytest.raises(ValueError, match=r"a\.pt must be a "):
            read_pickle(with_pickle(tmp_path / "a.pt", body, zipped))
    assert (
        vars(rebuild) == before
        and not hasattr(torch.UntypedStorage, "__defaults__")
        and rebuild.__defaults__ == defaults
    )


STORAGE = b"ctorch.storage\nUntypedStorage\n"


def with_pickle(path: Path, body: bytes, zipped: bool) -> Path:
    """A file of torch.save whose main pickle is ``body``."""
    stored = io.BytesIO()
    torch.save(0, stored, _use_new_zipfile_serialization=zipped)
    old = pickle.dumps(0, protocol=2)
    if not zipped:
        head, _, tail = stored.getvalue().rpartition(old)
        path.write_bytes(head + body + tail)
        return path
    with torch.serialization._open_zipfile_writer(str(path)) as file:
        file.write_record("data.pkl", body, len(body))
        file.write_record("version", b"3\n", 2)
        file.write_record("byteorder", sys.byteorder.encode(), 6)
    return path


@pytest.mark.parametrize("content", [b"", b"junk", b"\0" * 8, b"PK\3\4", b"\x80\2", b"\x80\2.", b"(lp0\n."], ids=repr)
def test_bytes_that_are_no_such_file_are_refused(tmp_path: Path, content: bytes):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match="a.pth "):
        read_state_dict(tmp_path / "a.pth")


def test_a_whole_pickled_network_is_refused_by_its_name(tmp_path: Path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
    refuses(tmp_path / "a.pt", "a.pt must hold tensors by name, got Linear.")


# made to fill the memory, to end the process or to keep it busy for ever

STRANGER = b"\x80\x02cx\nY\n0"  # a class that is no tensor, laid on the stack and taken off again
NEST = 2 * 10**5
SHARED = b"q\x01h\x01\x86"  # keep what lies on the stack, and make a pair of it and itself
GREEDY = {
    "a place for 2**27 objects": b"}r" + struct.pack("<I", 2**27) + b".",
    "a name of 2**40 letters": b"\x8d" + struct.pack("<Q", 2**40) + b"x.",
    "lists in lists": b"]" * NEST + b"a" * (NEST - 1) + b".",
    "tuples in tuples": b")" + b"\x85" * NEST + b".",
    "tuples in tuples for a name": b"})" + b"\x85" * NEST + b"K\x01s.",
    "pairs of pairs for a name": b"})" + SHARED * 99 + b"K\x01s.",
    "pairs of pairs in an OrderedDict": b"ccollections\nOrderedDict\n(]()" + SHARED * 99 + b"K\x01\x86ate\x85R.",
    "pairs of pairs for a storage": b")" + SHARED * 99 + b"Q.",
    "lists of lists for a storage": b"]" + b"q\x01(h\x01h\x01l" * 99 + b"\x85Q.",
    "a pair of pairs beside a state_dict": b"}(U\nstate_dict})" + SHARED * 99 + b"K\x01u.",
    "itself": b"}q\x00U\x05modelh\x00s.",
}


@FORMATS
@pytest.mark.parametrize("body", GREEDY.values(), ids=GREEDY)
@pytest.mark.parametrize("start", [b"\x80\x02", STRANGER], ids=["alone", "beside a stranger"])
def test_no_file_takes_more_memory_or_time_than_it_has_bytes(tmp_path: Path, start: bytes, body: bytes, zipped: bool):
    """Most of them end the process, or never end, where a pickle's tuples are hashed as they are."""
    path = with_pickle(tmp_path / "a.pt", start + body, zipped)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        assert read_state_dict(path) == ({}, {})
    except ValueError as error:
        assert str(error).startswith("a.pt ") and len(str(error)) < 300
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 * QUARTER


@pytest.mark.parametrize("part", ["data.pkl", "data/0"])
def test_a_file_of_compressed_parts_is_refused_before_they_are_unpacked(tmp_path: Path, part: str):
    """torch.load unpacks them, whatever they claim to hold: half a gigabyte out of half a megabyte."""
    torch.save({"a": torch.zeros(2**16)}, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "a.pt", "w") as packed:
        for name in whole.namelist():
            how = zipfile.ZIP_DEFLATED if name.endswith(part) else zipfile.ZIP_STORED
            packed.writestr(name, whole.read(name), how)
    refuses(tmp_path / "a.pt", "a.pt must be a file written by torch.save, got a packed one: download it again.")


def test_parts_that_share_their_bytes_are_refused(tmp_path: Path):
    """A thousand entries of one place unpack to a thousand times the file."""
    torch.save({"a": torch.zeros(2**16)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt", "a") as file:
        largest = max(file.infolist(), key=lambda part: part.file_size)
        file.filelist += [largest] * 3
        file._didModify = True
    refuses(tmp_path / "a.pt", "a.pt must be a file written by torch.save, got a packed one: download it again.")


def test_a_program_is_no_file_of_weights(tmp_path: Path):
    """torch.load would hand it to TorchScript, which runs what it holds."""
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "a.pt")
    refuses(tmp_path / "a.pt", "a.pt must hold weights, got a TorchScript program: take the file of its weights.")


def test_a_tar_is_not_unpacked(tmp_path: Path):
    """torch.load would write its files to the disk, and wait for ever for what a pipe in it has to say."""
    with tarfile.open(tmp_path / "a.pt", "w") as file:
        for name in ("\x80", "storages", "tensors", "pickle"):
            pipe = tarfile.TarInfo(name)
            pipe.type = tarfile.FIFOTYPE
            file.addfile(pipe)
    refuses(tmp_path / "a.pt", "a.pt must be a file written by torch.save, got a tar: download it again.")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.uint16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("strangers", [{}, {"seed": argparse.Namespace(seed=3)}], ids=["alone", "beside a stranger"])
def test_newer_numbers_are_read_too(tmp_path: Path, dtype: torch.dtype, strangers: dict):
    """In torch's own older format nobody reads them."""
    kept = torch.arange(6).to(dtype)
    torch.save({"a": kept, **strangers}, tmp_path / "a.pt")
    read, _ = read_state_dict(tmp_path / "a.pt")
    assert read["a"].dtype == dtype and torch.equal(read["a"].float(), kept.float())
