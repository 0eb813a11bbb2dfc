"""L_SS against its loop, its gradients against finite differences, and where it must be exactly 0."""

from dataclasses import replace

import pytest
import torch
from drawn_detections import drawn_hole, scene, without_sundries
from references_yoeo import ios_by_loop, nearest_exact_by_loop, suppression_by_loop
from tiny import tiny_detector

from yoeo_core.coherence import coherence_loss
from yoeo_core.detector import Detections
from yoeo_core.suppression import (
    FORMS,
    gradient_in_hole,
    intersection_over_segment,
    sundries,
    sundry_area,
    suppression_loss,
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("aligned", [True, False])
def test_both_terms_equal_the_loop(form, classes, aligned):
    found, hole = scene(classes=classes), drawn_hole(aligned)
    loss = suppression_loss(found, hole, form=form)
    for i in range(2):
        slow = suppression_by_loop(found.class_logits[i].detach(), found.mask_logits[i].detach(), hole[i, 0], form)
        assert slow[0] > 0 and slow[1] > 0
        assert torch.allclose(torch.stack([loss.probability[i], loss.mask[i]]), torch.tensor(slow).double(), rtol=1e-9)


def test_the_forms_differ_in_the_mask_term_alone():
    found, hole = scene(), drawn_hole()
    official, paper = (suppression_loss(found, hole, form=form) for form in FORMS)
    assert torch.equal(official.probability, paper.probability)
    assert (paper.mask > official.mask).all()


@pytest.mark.parametrize("form", FORMS)
def test_gradients_equal_finite_differences(form):
    found, hole = scene(), drawn_hole()[:1]
    leaves = [value[:1].detach().requires_grad_() for value in (found.class_logits, found.mask_logits)]

    def terms(classes, masks):
        loss = suppression_loss(Detections(classes, masks, found.features[:1]), hole, form=form)
        return loss.probability, loss.mask

    assert torch.autograd.gradcheck(terms, leaves)


@pytest.mark.parametrize("form", FORMS)
def test_it_is_zero_without_a_sundry_and_stays_in_the_graph(form):
    found = without_sundries()
    loss = suppression_loss(found, drawn_hole(), form=form)
    assert not sundries(found, drawn_hole()).any()
    assert torch.equal(loss.probability, torch.zeros(2).double()) and torch.equal(loss.mask, torch.zeros(2).double())
    (loss.probability + loss.mask).sum().backward()
    assert not found.mask_logits.grad.any() and not found.class_logits.grad.any()


def test_an_empty_hole_has_no_sundries():
    assert not sundries(scene(), torch.zeros_like(drawn_hole())).any()


def test_the_mask_term_s_gradient_is_exactly_zero_outside_the_hole_and_for_every_other_query():
    found, hole = scene(), drawn_hole(aligned=False)
    suppression_loss(found, hole).mask.sum().backward()
    for i in range(2):
        inside = nearest_exact_by_loop(hole[i, 0], *found.mask_logits.shape[-2:]) > 0
        assert (found.mask_logits.grad[i, 0, inside] > 0).all()
        assert not found.mask_logits.grad[i, 0, ~inside].any()
    assert not found.mask_logits.grad[:, 1:].any()


def test_alpha_is_detached_so_the_probability_term_moves_no_mask():
    found = scene()
    suppression_loss(found, drawn_hole()).probability.sum().backward()
    assert found.mask_logits.grad is None or not found.mask_logits.grad.any()
    assert found.class_logits.grad[:, 0].all() and not found.class_logits.grad[:, 1:].any()


def test_alpha_is_the_share_of_the_whole_picture():
    found, hole = scene(), drawn_hole()
    loss = suppression_loss(found, hole, scale=1)
    alpha = 2 * 3 / (8 * 12)  # the sundry's box over the grid, though the hole is only a quarter of it
    assert torch.allclose(loss.probability, -alpha * found.no_object_log_prob[:, 0])
    for power in (0.0, 0.5, 2.0):
        loss = suppression_loss(found, hole, scale=1, alpha=power)
        assert torch.allclose(loss.probability, -(alpha**power) * found.no_object_log_prob[:, 0])


def test_a_mask_covers_the_pixels_that_are_likelier_in_it_than_not():
    """Both where shares are counted and where pixels are: a logit just below 0 is none of them."""
    found, hole = scene(), drawn_hole()
    doubtful = found.mask_logits.detach().where(found.mask_logits > 0, -0.5)
    for form in FORMS:
        loss = suppression_loss(replace(found, mask_logits=doubtful), hole, ios=0, score=0, form=form)
        assert torch.allclose(loss.probability, suppression_loss(found, hole, ios=0, score=0, form=form).probability)
    inside = [intersection_over_segment(logits, hole, binary=True) for logits in (doubtful, found.mask_logits)]
    assert torch.equal(*inside)


def test_a_mask_of_less_than_a_pixel_lies_in_the_hole_too():
    faint = torch.full((1, 1, 8, 12), -40.0)
    faint[..., 3, 6] = -2  # 0.12 of a pixel
    assert intersection_over_segment(faint, drawn_hole()[:1].float()) > 0.999


def test_both_thresholds_decide():
    found, hole = scene(), drawn_hole()
    assert sundries(found, hole).tolist() == [[True, False, False, False, False]] * 2
    assert sundries(found, hole, score=1e-3).tolist() == [[True, False, False, True, False]] * 2
    assert sundries(found, hole, ios=0.1).tolist() == [[True, True, False, False, True]] * 2
    assert not sundries(found, hole, score=0.99).any() and not sundries(found, hole, ios=0.9999).any()


@pytest.mark.parametrize("binary", [{}, {"binary": True}], ids=["probabilities", "pixels"])
def test_ios_equals_the_loop(binary: dict):
    found, hole = scene(), drawn_hole(aligned=False)
    fast = intersection_over_segment(found.mask_logits, hole, **binary)
    assert not fast.requires_grad
    for i in range(2):
        cells = nearest_exact_by_loop(hole[i, 0], *found.mask_logits.shape[-2:])
        for q, logits in enumerate(found.mask_logits[i].detach()):
            mask = (logits > 0).double() if binary else logits.sigmoid()
            assert float(fast[i, q]) == pytest.approx(ios_by_loop(mask, cells))


def test_an_empty_mask_is_not_inside_of_anything():
    assert not intersection_over_segment(torch.full((1, 1, 8, 12), -1e4), drawn_hole()[:1].float()).any()


def test_the_sundry_area_covers_the_sundries_and_nothing_where_there_are_none():
    found, hole = scene(), drawn_hole()
    area = sundry_area(found, sundries(found, hole), (32, 48), 0.5)
    assert area[:, :, 13:19, 21:31].all() and not area[:, :, :11].any() and not area[:, :, :, :19].any()
    assert not sundry_area(found, torch.zeros(2, 5, dtype=torch.bool), (32, 48), 0.1).any()


def test_a_pixel_is_of_a_sundry_above_the_probability_and_not_at_it():
    found = scene()
    undecided, all_of_them = replace(found, mask_logits=torch.zeros_like(found.mask_logits)), torch.ones(2, 5) > 0
    assert not sundry_area(undecided, all_of_them, (32, 48), 0.5).any()
    assert sundry_area(undecided, all_of_them, (32, 48), 0.49).all()


def test_the_gradient_reaches_the_hole_alone_and_the_picture_is_unchanged():
    image = torch.rand(2, 3, 32, 48, dtype=torch.float64, requires_grad=True)
    hole = drawn_hole(aligned=False)
    seen = gradient_in_hole(image, hole)
    assert torch.equal(seen, image)
    weights = torch.rand(image.shape).double() + 1
    (seen * weights).sum().backward()
    assert torch.equal(image.grad, weights * hole)
    assert not image.grad[(hole == 0).expand_as(image)].any()


def test_through_the_detector_too_nothing_outside_the_hole_is_pushed():
    image = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)).requires_grad_()
    hole = drawn_hole(aligned=False, dtype=torch.float32)
    found = tiny_detector()(gradient_in_hole(image, hole))
    suppression = suppression_loss(found, hole, ios=0, score=0)  # every query is a sundry
    for loss in (suppression.probability, suppression.mask, coherence_loss(found, hole, ios=1, score=0)):
        (gradient,) = torch.autograd.grad(loss.sum(), image, retain_graph=True)
        assert gradient[(hole > 0).expand_as(image)].all()
        assert not gradient[(hole == 0).expand_as(image)].any()


def test_unknown_forms_are_refused():
    with pytest.raises(ValueError, match="form must be one of"):
        suppression_loss(scene(), drawn_hole(), form="literal")
