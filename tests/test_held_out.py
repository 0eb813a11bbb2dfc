"""Looking at held-out pictures a few at a time changes nothing but the memory that it takes."""

import pytest
import torch
from tiny import TINY, tiny_checkpoint, tiny_config

from inpainting_core.engine import DiffusersEngine
from training.data.encoding import Encoder
from training.held_out import parts
from training.held_out.few_steps import pictures_in_few_steps
from training.held_out.pairs import erase_pairs
from training.held_out.parts import in_parts


@pytest.fixture(scope="module")
def engine() -> DiffusersEngine:
    return DiffusersEngine.of(tiny_checkpoint(tiny_config(vae=TINY, prediction="v_prediction")))


@pytest.fixture(scope="module")
def encoded(engine) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    original, with_object = torch.rand(2, 5, 3, 32, 32, generator=generator)
    hole = torch.zeros(5, 1, 32, 32)
    hole[..., 8:24, 8:24] = 1
    return Encoder(engine.vae, engine.config, torch.device("cpu")).pair(original, with_object, hole)


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_the_parts_put_together_are_the_whole(size):
    batch = {"x": torch.arange(5.0), "sure": torch.tensor([True, False, True, True, False])}
    seen = []

    def doubled(part):
        seen.append(len(part["x"]))
        return {"x": 2 * part["x"].half(), "sure": ~part["sure"]}

    made = in_parts(doubled, batch, size)
    assert max(seen) <= size and sum(seen) == 5
    assert torch.equal(made["x"], 2 * batch["x"]) and torch.equal(made["sure"], ~batch["sure"])


def test_a_path_is_walked_with_the_same_noise_in_parts_of_any_size(engine, encoded, monkeypatch):
    def erased() -> torch.Tensor:
        return erase_pairs(engine, encoded, 3, 0.8, "rectified", seed=1)

    whole = erased()
    monkeypatch.setattr(parts.in_parts, "__defaults__", (2,))
    assert torch.allclose(erased(), whole, atol=1e-5)


def test_consistency_steps_are_drawn_from_the_same_noise_every_time(engine, encoded):
    once, again = (pictures_in_few_steps(engine, encoded, 2) for _ in range(2))
    assert torch.equal(once, again)
    alike = {key: value[:1].expand(5, *value.shape[1:]) for key, value in encoded.items()}
    pictures = pictures_in_few_steps(engine, alike, 2)
    assert not torch.equal(pictures[0], pictures[1]), "each picture has noise of its own"
