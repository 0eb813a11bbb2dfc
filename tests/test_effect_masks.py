"""What is said of a mask that was grown to an object's effects: the scores, on planes made by hand."""

import pytest
import torch

from benchmarks.effect_masks import rows_of, score

TRUTH = torch.full((1, 3, 20, 20), 0.5)
MASK, EFFECT = torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 20, 20)
MASK[..., 5:10, 5:10] = EFFECT[..., 10:14, 5:10] = 1
IMAGE = TRUTH * (1 - 0.4 * EFFECT) + 0.3 * MASK
PAIR = (IMAGE, MASK, TRUTH, EFFECT)


def test_what_was_added_is_compared_with_the_true_effects():
    half = EFFECT.clone()
    half[..., 12:, :] = 0
    got = score(half, TRUTH + 0.1, PAIR)
    assert (got["iou"], got["covered"], got["added"]) == pytest.approx((0.5, 0.5, 10 / 25))
    assert got["psnr"] == pytest.approx(20, abs=1e-3)


@pytest.mark.parametrize(("erased", "left"), [(IMAGE, 1), (TRUTH, 0), ((IMAGE + TRUTH) / 2, 0.5)])
def test_what_is_left_of_a_shadow(erased: torch.Tensor, left: float):
    assert score(EFFECT, erased, PAIR)["shadow_left"] == pytest.approx(left, abs=1e-5)


def test_the_rows_are_the_mask_bands_what_is_found_and_the_truth():
    rows = rows_of([2])
    assert list(rows) == ["the mask alone", "a band of 2 px", "what is found", "the true effects"]
    added = {name: way(PAIR) for name, way in rows.items()}
    assert not added["the mask alone"].any() and torch.equal(added["the true effects"], EFFECT)
    assert added["a band of 2 px"].sum() == 5 * 2 * 4 + 4 and not (added["a band of 2 px"] * MASK).any()
