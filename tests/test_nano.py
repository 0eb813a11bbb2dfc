"""The command that makes the built-in nano: every stage from the one before, and again where it was stopped."""

import json

from safetensors.torch import load_file
from training_runs import assert_equal, draw_photographs

from training import nano


def test_the_stages_follow_one_another(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    photos, out = draw_photographs(tmp_path / "photos"), tmp_path / "out"
    argv = ["--images", str(photos), "--out", str(out), *"--share 0.0003 --resolution 64 --workers 0".split()]
    nano.main(nano.parse_args(argv))
    facts = json.loads((out / "stage3" / "held_out.json").read_text())
    stages = []
    while facts.get("stage"):
        stages.append(facts["stage"])
        facts = facts.get("before", {})
    assert stages == ["yoeo_stage3", "yoeo_stage2", "yoeo_stage1", "yoeo_stage1", "yoeo_stage1"]
    assert "stage3: " in capsys.readouterr().out

    written = {stage: load_file(out / stage / "model.safetensors") for stage in nano.RECIPE}
    nano.main(nano.parse_args(argv))
    assert_equal(written, {stage: load_file(out / stage / "model.safetensors") for stage in nano.RECIPE})
