"""What is known is spread over what is not, near to where a membrane hangs that was given all the time it needs."""

import pytest
import torch
from references import membrane

from inpainting_core.membrane import spread


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (33, 47)])
def test_what_is_known_stays_and_the_rest_lies_between(shape):
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2, 3, *shape, generator=generator)
    known = (torch.rand(2, 1, *shape, generator=generator) < 0.3).float()
    known[..., 0, 0] = 1
    out = spread(values, known)
    assert torch.equal(out * known, values * known)
    for one, where, given in zip(out, known, values, strict=True):
        there = given[:, where[0] > 0]
        assert (one >= there.amin(1)[:, None, None] - 1e-6).all() and (one <= there.amax(1)[:, None, None] + 1e-6).all()


def test_nothing_known_is_nothing_spread():
    assert not spread(torch.rand(1, 3, 9, 12), torch.zeros(1, 1, 9, 12)).any()


def test_it_hangs_near_where_a_membrane_does():
    size, hole = 48, torch.zeros(1, 1, 48, 48)
    hole[..., 12:36, 10:34] = 1
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    values = torch.stack([rows, columns, (3 * rows).sin() * columns])[None]
    slow = membrane(values, 1 - hole)
    assert (spread(values, 1 - hole) - slow).abs().max() < 0.25 * (slow.max() - slow.min())
    assert (spread(values, 1 - hole) - slow).abs().mean() < 0.02 * (slow.max() - slow.min())
