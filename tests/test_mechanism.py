"""The pictures of the mechanism: the weights are a dense softmax's, and watching a run does not change it."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_checkpoint

from eradiff_core.attention import Softness, attend, rectifier
from evaluation.mechanism import main, parse_args
from evaluation.mechanism_pictures import heat_map
from evaluation.watching import WatchedEngine, weights_of_hole
from inpainting_core.built_in import EXAMPLES
from inpainting_core.engine import DiffusersEngine
from inpainting_core.protocol import Inputs

HOLE = torch.tensor([i % 3 == 0 for i in range(15)])


def dense_weights(q: torch.Tensor, k: torch.Tensor, mode: str, softness: float) -> torch.Tensor:
    """Softmax of all pairs, the pairs that the mode blocks weighed, rows summing to 1."""
    blocked = {"rectified": HOLE[:, None] & HOLE, "strict": HOLE.expand(15, 15), "off": torch.zeros(15, 15).bool()}
    pairs = (q @ k.mT / q.shape[-1] ** 0.5).exp() * torch.where(blocked[mode], softness, 1.0)
    return pairs / pairs.sum(-1, keepdim=True)


@pytest.mark.parametrize("softness", [0.0, 0.3])
@pytest.mark.parametrize("mode", ["rectified", "strict", "off"])
def test_weights_are_those_of_the_dense_softmax(mode: str, softness: float):
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, 3, 15, 8, generator=generator) for _ in range(2))

    def attention(q, k, v):
        return attend(q, k, v, HOLE.expand(2, -1), mode, softness=softness)

    found = weights_of_hole(attention, q, k, HOLE)
    rows = dense_weights(q, k, mode, softness)
    assert torch.allclose(rows.sum(-1), torch.ones(2, 3, 15)) and torch.allclose(found.sum(), torch.tensor(1.0))
    assert torch.allclose(found, rows[:, :, HOLE].mean((0, 1, 2)), atol=1e-6)
    assert (found[HOLE] == 0).all() == (mode != "off" and softness == 0)


def test_a_grid_without_a_hole_has_no_weights():
    q = torch.randn(1, 1, 4, 8)
    assert weights_of_hole(lambda q, k, v: v, q, q, torch.zeros(4, dtype=torch.bool)).isnan().all()


def inputs(mode: str) -> Inputs:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1
    generator = torch.Generator().manual_seed(1)
    first, masked = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(2))
    return Inputs(first, mask, masked, rectifier(mask, mode, Softness(0.2)))


@pytest.mark.parametrize("mode", ["rectified", "off"])
def test_watching_a_run_does_not_change_it(mode: str):
    from eradiff_core.sampler import ddim, path

    noise, sigmas = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2)), path(3)
    engines = [kind.of(tiny_checkpoint()) for kind in (DiffusersEngine, WatchedEngine)]
    alone, watched = (engine.sample(ddim, sigmas, noise, inputs(mode)) for engine in engines)
    assert torch.allclose(alone, watched, atol=1e-5)
    kept = engines[1]
    assert len(kept.path) == 3 and torch.allclose(kept.path[-1], engines[0].decode(alone), atol=1e-4)
    layers = sum(name.endswith("attn1") for name, _ in kept.unet.named_modules())
    assert [(look.step, look.layer) for look in kept.looks] == [(s, i) for s in range(3) for i in range(layers)]
    assert all(abs(float(look.weights.sum()) - 1) < 1e-4 and 0 < look.at_itself < 1 for look in kept.looks)


def test_even_attention_is_faint_and_much_of_it_is_yellow():
    picture, hole = torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 1, 8, 8)
    hole[..., 2:4, 2:4] = 1
    weights = torch.full((2, 2), 0.0)
    weights[1, 1] = 1
    drawn = heat_map(picture, hole, weights)[0]
    assert torch.allclose(drawn[:, 0, 0], torch.tensor(0.35)) and (drawn[:, 1, 1] == 1).all()
    assert torch.allclose(drawn[:, 7, 7], torch.tensor([0.935, 0.935, 0.035]), atol=1e-3)


def run(tmp_path: Path, *more: str) -> int:
    picture, mask = EXAMPLES["wren"]
    given = ["--image", str(picture), "--mask", str(mask), "--model", "nano", "--resolution", "64"]
    return main(parse_args([*given, "--out", str(tmp_path / "out"), "--steps", "2", *more]))


def test_the_script_draws_both_kinds_of_attention_and_counts_every_layer(tmp_path: Path):
    assert run(tmp_path) == 0
    rows = list(csv.DictReader(open(tmp_path / "out/attention.csv")))
    assert [row["attention"] for row in rows] == ["rectified"] * 14 + ["off"] * 14
    full = [row for row in rows if 0 < float(row["hole"]) < 1]
    assert all((float(row["at_itself"]) == 0) == (row["attention"] == "rectified") for row in full) and len(full) > 20
    with Image.open(tmp_path / "out/attention.png") as heat, Image.open(tmp_path / "out/path.png") as path:
        assert heat.size == (3 * 196 - 4, 6 * 212 - 4) and path.size == (3 * 196 - 4, 2 * 212 - 4)
        maps = np.asarray(heat)[16:208]
        assert (maps[:, :196] != maps[:, 196:392]).any()


def test_yoeo_has_a_path_of_its_own(tmp_path: Path):
    assert run(tmp_path, "--method", "yoeo") == 0
    assert {row["attention"] for row in csv.DictReader(open(tmp_path / "out/attention.csv"))} == {"off"}


def test_what_cannot_be_drawn_is_a_sentence(tmp_path: Path, capsys):
    empty = tmp_path / "empty.png"
    Image.new("L", (768, 512)).save(empty)
    assert run(tmp_path, "--mask", str(empty)) == 2 and "empty.png must hold a hole" in capsys.readouterr().err
    assert run(tmp_path, "--model", str(tmp_path / "none.safetensors")) == 2
    assert "none.safetensors" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(tmp_path, "--method", "yoeo", "--attention", "rectified")
