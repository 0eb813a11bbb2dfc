"""Pickles that hold more than tensors: these are read, and nothing else that such a file names is ever run."""

import argparse
import io
import logging
import os
import pickle
import re
import sys
import types
from collections import OrderedDict, defaultdict
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from checkpoint_files import assert_same, refuses, single_file

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
    for target in (b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"cx\nY\n"):
        stranger, state = b"cx\nY\n0", b"N}U\x0c__defaults__K\x01\x85s\x86"
        body = b"\x80\x02" + stranger + target + state + b"b."
        with pytest.raises(ValueError, match=r"a\.pt must be a "):
            read_pickle(with_pickle(tmp_path / "a.pt", body, zipped))
    assert vars(rebuild) == before and rebuild.__defaults__ == defaults


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
