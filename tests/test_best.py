"""The best state of a run: kept beside the newest ones, said in the record, and on wish what the file gets."""

import json
from functools import partial

import pytest
import torch
from fitting import did, fit_with
from training_runs import assert_equal, killed_at, state_of


@pytest.fixture
def train(photos):
    return partial(fit_with, photos)


BEST_AT_2 = dict(enumerate([20.0, 25.0, 24.0, 23.0, float("nan"), 21.0], start=1))


def test_the_best_state_is_kept_beside_the_newest_two_and_can_be_what_the_file_gets(
    train, photos, tmp_path, monkeypatch, capsys
):
    did(monkeypatch, BEST_AT_2)
    flags = f"--steps 6 --save-every 1 --validation {photos}"
    train(tmp_path, flags)
    slots = sorted(slot.name for slot in (tmp_path / "states").iterdir())
    assert slots == ["00000002", "00000005", "00000006"]
    facts = json.loads((tmp_path / "held_out.json").read_text())
    assert facts["best"] == {"step": 2, "psnr": 25.0} and facts["psnr"] == 21.0
    assert "step 2: psnr 25.000; the best so far by psnr" in capsys.readouterr().out
    last = torch.load(tmp_path / "model.pt")
    train(tmp_path, f"{flags} --keep best")  # a run that is over: its file alone is written anew
    best, state = torch.load(tmp_path / "model.pt"), state_of(tmp_path, 2)
    average = torch.load(tmp_path / "states" / "00000002" / "custom_checkpoint_1.pkl")
    assert_equal(dict(best), {key: average[f"module.{key}"] for key in best})
    assert not torch.equal(best["weight"], last["weight"]) and state["model"].keys() == best.keys()
    facts = json.loads((tmp_path / "held_out.json").read_text())
    assert facts["psnr"] == 25.0 and facts["flags"]["keep"] == "best"


def test_a_resumed_run_knows_its_best_state_and_looks_where_it_was_stopped(train, photos, tmp_path, monkeypatch):
    did(monkeypatch, BEST_AT_2)
    flags = f"--steps 5 --save-every 1 --validation {photos}"
    for stop in (2, 4):  # both before that state was looked at
        with killed_at(monkeypatch, stop):
            train(tmp_path, flags)
    train(tmp_path, flags)
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 2
    assert (tmp_path / "states" / "00000002").exists()
    did(monkeypatch, dict.fromkeys(range(1, 8), 30.0))
    train(tmp_path, f"--steps 6 --save-every 1 --validation {tmp_path / 'states'}")
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 5, "other pictures are another measure"


def test_keeping_the_best_needs_pictures_to_tell_it_and_a_whole_state(train, photos, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="--keep best needs --validation"):
        train(tmp_path, "--steps 1 --keep best")
    did(monkeypatch, BEST_AT_2)
    train(tmp_path, f"--steps 4 --save-every 1 --validation {photos}")
    (tmp_path / "states" / "00000002" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="the best state, .*00000002, is damaged or gone: give --keep last"):
        train(tmp_path, f"--steps 4 --save-every 1 --validation {photos} --keep best")
