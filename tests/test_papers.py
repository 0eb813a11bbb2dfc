"""A paper's table in one line: the built-in model's row beside the paper's, raw and as the nodes do it."""

from pathlib import Path

import pytest
from score_folders import make_set
from tiny import tiny_checkpoint

from evaluation.papers import beside, main, parse_args
from evaluation.papers_tables import TABLES
from inpainting_core.checkpoint import write_checkpoint


def run(root: Path, *more: str) -> int:
    return main(parse_args(["yoeo-ablation", "--set", str(root / "set"), "--out", str(root / "out"), *more]))


def test_a_table_is_erased_and_scored_once_and_printed_beside_the_papers(tmp_path: Path, capsys):
    root, weights = make_set(tmp_path, 1), f"all={tmp_path / 'tiny.safetensors'}"
    write_checkpoint(tmp_path / "tiny.safetensors", tiny_checkpoint())
    assert run(root, "--weights", weights, "--detector", "nano") == 0
    said = (root / "out/table.md").read_text()
    assert said in capsys.readouterr().out
    assert "| EFC, SS, D2, the paper | 0.049 | 0.005 | 0.311 |" in said and "| none, the paper | 0.33 " in said
    assert said.count("**EFC, SS, D2, ours, ") == 2 and "- cfd is absent: needs --dinov2" in said
    assert "nano_detector.safetensors" in said and "HorNet-L" in said
    results = sorted((root / "out/erased").glob("*/a/p0.png"))
    stamps = [path.stat().st_mtime_ns for path in results]
    assert len(results) == 2 and run(root, "--weights", weights, "--detector", "nano") == 0
    assert [path.stat().st_mtime_ns for path in results] == stamps


def test_weights_that_the_table_does_not_know_are_refused(tmp_path: Path, capsys):
    root = make_set(tmp_path, 1)
    for given in ([], ["--weights", "mine=x.safetensors"]):
        assert run(root, *given) == 2
        assert "are none, efc, efc-d2, ss-d2, all, got" in capsys.readouterr().err


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_made_of_columns_that_its_metrics_have(name: str):
    table = TABLES[name]
    assert all(set(row.paper) <= set(table.columns) for row in table.rows)
    text = beside(table, {"table": {}, "absent": {}, "metrics": {}}, 0)
    assert text.count(", the paper |") == len(table.rows) and text.count("\n- ") == len(table.protocol)
