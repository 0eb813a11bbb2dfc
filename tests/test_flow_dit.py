"""Both methods on a rectified flow in a transformer of diffusers' own class, end to end."""

import pytest
import torch

from benchmarks.flow_dit import (
    Velocity,
    chain,
    distilled_from,
    draw_scenes,
    erased,
    left_of,
    parse_args,
    tiny_dit,
    train,
)

ARGS = parse_args(["--steps", "4"])


@pytest.fixture(scope="module")
def start() -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return tiny_dit()


@pytest.mark.parametrize("mixing", ["schedule", "none"])
def test_the_chain_teaches_a_transformer_velocities(start, mixing):
    """Of one batch again and again, what is left to learn gets less."""
    network = tiny_dit()
    network.load_state_dict(start.state_dict())

    def again(network, _):
        return chain(mixing)(network, torch.Generator().manual_seed(5))

    before = float(again(network, None).detach())
    train(network, again, ARGS)
    assert float(again(network, None).detach()) < 0.9 * before


def test_distillation_moves_the_student_and_leaves_the_teacher(start):
    student = tiny_dit()
    student.load_state_dict(start.state_dict())
    kept = {name: weight.clone() for name, weight in start.state_dict().items()}
    train(student, distilled_from(start, ARGS), ARGS)
    assert all(torch.equal(weight, kept[name]) for name, weight in start.state_dict().items())
    assert any(not torch.equal(weight, kept[name]) for name, weight in student.state_dict().items())
    assert all(weight.isfinite().all() for weight in student.state_dict().values())


@pytest.mark.parametrize("method", ["eradiff", "yoeo"])
def test_both_samplers_run_on_it_and_sra_changes_what_they_find(start, method):
    plain, with_object, mask = draw_scenes(8, torch.Generator().manual_seed(0))
    off, rectified = (erased(start, method, mode, plain, with_object, mask) for mode in ("off", "rectified"))
    assert off.isfinite().all() and rectified.isfinite().all()
    assert (off - rectified).abs().max() > 1e-3  # a network that nobody trained looks nearly everywhere alike


def test_an_untouched_patch_counts_as_one_and_none_as_nothing(start):
    plain, with_object, mask = draw_scenes(8, torch.Generator().manual_seed(0))
    assert left_of(with_object, plain, with_object, mask)[0] == pytest.approx(1)
    assert left_of(plain, plain, with_object, mask) == (0, 0)
    assert Velocity(start, mask, plain).masked.abs().sum() == (plain * (1 - mask)).abs().sum()
