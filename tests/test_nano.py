"""The command that makes the built-in nano: every stage from the one before, and again where it was stopped."""

import json
import os
import subprocess
import sys

from safetensors.torch import load_file
from training_runs import ROOT, assert_equal, draw_photographs

from training import nano


def run(argv: list[str]) -> str:
    """What the command prints; in a process of its own, for accelerate keeps one precision a process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "training.nano", *argv]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_stages_follow_one_another(tmp_path):
    (tmp_path / "photos").mkdir()
    photos, out = draw_photographs(tmp_path / "photos"), tmp_path / "out"
    argv = ["--images", str(photos), "--out", str(out), *"--share 0.0003 --resolution 64 --workers 0".split()]
    assert "stage3: " in run(argv)
    facts = json.loads((out / "stage3" / "held_out.json").read_text())
    stages = []
    while facts.get("stage"):
        stages.append(facts["stage"])
        facts = facts.get("before", {})
    assert stages == ["yoeo_stage3", "yoeo_stage2", "yoeo_stage1", "yoeo_stage1", "yoeo_stage1"]

    written = {stage: load_file(out / stage / "model.safetensors") for stage in nano.RECIPE}
    run(argv)
    assert_equal(written, {stage: load_file(out / stage / "model.safetensors") for stage in nano.RECIPE})
