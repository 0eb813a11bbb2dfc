"""A network's fill that copies: structure and detail from the surroundings, a share of the coarse from the network."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from tiny import TINY, tiny_checkpoint, tiny_config

from eradiff_core import pipeline as eradiff
from inpainting_core.copying import FINER, SHARE, coarsely_as, copy, copying, smaller
from inpainting_core.engine import DiffusersEngine
from yoeo_core import pipeline as yoeo

HOLE = torch.zeros(1, 1, 96, 128)
HOLE[..., 30:66, 40:90] = 1
INNER = (..., slice(44, 52), slice(60, 70))


def stripes() -> torch.Tensor:
    return torch.tensor([0.2, 0.2, 0.6, 0.6]).tile(32).expand(1, 3, 96, 128)


def seeds(*numbers: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(number) for number in numbers]


def test_the_network_sees_half_the_size_and_nothing_of_the_hole_is_lost():
    seen = []

    def fill(view: torch.Tensor, hole: torch.Tensor, copies: torch.Tensor) -> torch.Tensor:
        seen.append((view, hole))
        return copies

    hole = HOLE.clone()
    hole[..., 21, 31] = 1
    made = copying(fill, seeds(0, 1), 1)(stripes(), hole).pictures
    assert made.shape == (2, 3, 96, 128)
    ((view, small),) = seen
    assert view.shape == (1, 3, 48, 64) and small.shape == (1, 1, 48, 64) and small[..., 10, 15] == 1


def test_detail_is_the_copys_and_known_pixels_stay():
    view = stripes()
    made = copying(lambda small, hole, copies: small, seeds(0), 1)(torch.where(HOLE > 0, 0.9, view), HOLE).pictures
    assert torch.equal(made * (1 - HOLE), view * (1 - HOLE))
    across = made[INNER].diff(dim=-1)
    assert torch.allclose(across, view[INNER].diff(dim=-1), atol=0.02)


def test_a_share_of_a_coarse_difference_is_the_networks():
    copies = torch.full((1, 3, 96, 128), 0.5)
    drawn = torch.full((1, 3, 48, 64), 0.7)
    made = coarsely_as(drawn, copies, HOLE)
    assert torch.allclose(made[INNER], torch.tensor(0.5 + SHARE * 0.2)) and torch.equal(
        made * (1 - HOLE), copies * (1 - HOLE)
    )
    fine = drawn + 0.2 * torch.tensor([1.0, -1.0]).tile(32)
    assert (coarsely_as(fine, copies, HOLE)[INNER] - made[INNER]).abs().max() < 0.02
    assert coarsely_as(drawn + 1, copies + 0.4, HOLE).max() <= 1


def test_what_is_wrong_with_a_networks_colours_around_the_hole_is_taken_out_first():
    view = stripes()
    right, shifted = (
        copying(lambda small, hole, copies, by=by: small + by, seeds(0), 1)(view, HOLE).pictures for by in (0.0, 0.1)
    )
    assert torch.allclose(right, shifted, atol=1e-3)


def test_a_candidate_is_copied_as_its_seed_alone_would_copy_it():
    view = torch.rand(1, 3, 96, 128, generator=seeds(7)[0])
    both = copying(lambda small, hole, copies: copies, seeds(3, 4), 1)(view, HOLE)
    one = copying(lambda small, hole, copies: copies, seeds(4), 1)(view, HOLE)
    for many, alone in zip(both, one, strict=True):
        assert torch.equal(many[1:], alone) and not torch.equal(many[0], many[1])


def test_smaller_is_a_mean():
    assert smaller(torch.tensor([[0.0, 1.0], [1.0, 0.0]]).expand(1, 3, FINER, FINER)).unique().item() == 0.5


@pytest.mark.parametrize(
    "erase", [partial(yoeo.erase, steps=1), partial(eradiff.erase, steps=2)], ids=["yoeo", "eradiff"]
)
def test_both_methods_copy_where_the_model_says_so(erase):
    config = replace(tiny_config(vae=TINY), texture="copied")
    engine = DiffusersEngine.of(tiny_checkpoint(config))
    picture = torch.tensor([0.2, 0.2, 0.6, 0.6]).tile(48).expand(1, 3, 160, 192)
    mask = torch.zeros(1, 160, 192)
    mask[:, 60:100, 70:120] = 1
    erased = erase(engine, torch.where(mask[None] > 0, 0.9, picture), mask)
    assert [(crop.work_height, crop.work_width) for crop in erased.crops] == [(128, 128)]
    inside = (..., slice(70, 90), slice(80, 110))
    assert torch.allclose(erased.image[inside].diff(dim=-1), picture[inside].diff(dim=-1), atol=0.05)
    assert torch.equal(erased.image * (1 - erased.changed), picture * (1 - erased.changed))


@pytest.mark.parametrize(
    "erase", [partial(yoeo.erase, steps=1), partial(eradiff.erase, steps=2)], ids=["yoeo", "eradiff"]
)
def test_a_network_that_corrects_is_shown_the_copies_of_each_candidate(erase, monkeypatch):
    config = replace(tiny_config(vae=TINY), texture="copied", under_hole="copied", draws=2)
    engine, encoded = DiffusersEngine.of(tiny_checkpoint(config)), []
    encode = engine.encode
    monkeypatch.setattr(engine, "encode", lambda picture: encoded.append(picture) or encode(picture))
    picture, mask = torch.rand(1, 3, 128, 128, generator=seeds(5)[0]), torch.zeros(1, 128, 128)
    mask[:, 50:78, 40:90] = 1
    erase(engine, picture, mask, candidates=2, seed=3, grow_px=0)
    copies = [copy(picture, mask[None], generator).pictures for generator in seeds(3, 4)]
    assert torch.equal(encoded[-1][-2:], torch.cat([smaller(one) for one in copies]))
