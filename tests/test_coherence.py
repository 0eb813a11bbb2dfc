"""L_EFC against its loop, its gradients against finite differences, and where it must be exactly 0."""

import pytest
import torch
from drawn_detections import BEYOND, CROSSING, LOWER, SUNDRY, drawn_detections, drawn_hole, scene
from references_yoeo import coherence_by_loop

from yoeo_core.coherence import coherence_loss
from yoeo_core.detector import Detections
from yoeo_core.suppression import FORMS


def alone(box: tuple, seed: int = 0) -> Detections:
    return drawn_detections([box], [True], seed)


def with_features(found: Detections, features: torch.Tensor) -> Detections:
    return Detections(found.class_logits, found.mask_logits, features)


def inner_cells() -> torch.Tensor:
    """The grid's cells that the aligned hole covers."""
    return torch.nn.functional.avg_pool2d(drawn_hole()[0, 0][None], 4)[0] > 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("judge", ["student", "teacher"])
def test_it_equals_the_loop(form, aligned, judge):
    found, hole = scene(), drawn_hole(aligned)
    teacher = drawn_detections([SUNDRY, LOWER, CROSSING], [True, True, True], seed=4) if judge == "teacher" else None
    loss = coherence_loss(found, hole, teacher=teacher, form=form).detach()
    for i in range(2):
        values = [value.detach()[i] for value in (found.class_logits, found.mask_logits, found.features)]
        judged = None if teacher is None else (teacher.class_logits.detach()[i], teacher.mask_logits.detach()[i])
        slow = coherence_by_loop(values, hole[i, 0], judged, form)
        assert slow != 0
        assert float(loss[i]) == pytest.approx(slow, rel=1e-9)


def first_of(found: Detections) -> Detections:
    """One sample with two channels, so that finite differences are quick."""
    return Detections(found.class_logits[:1], found.mask_logits[:1], found.features[:1, :2])


def test_official_gradients_equal_finite_differences_inside_where_the_centroid_stands_still():
    found, hole, inner = first_of(scene()), drawn_hole()[:1], inner_cells()

    def loss(inside):
        features = found.features.detach().clone()
        features[..., inner] = inside
        return coherence_loss(with_features(found, features), hole)

    assert torch.autograd.gradcheck(loss, found.features[..., inner].detach().requires_grad_())


def test_the_paper_s_gradients_equal_finite_differences_everywhere():
    found, hole = first_of(scene()), drawn_hole()[:1]
    leaf = found.features.detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: coherence_loss(with_features(found, f), hole, form="paper"), leaf)


def test_no_gradient_reaches_the_centroid():
    found = scene()
    coherence_loss(found, drawn_hole()).sum().backward()
    inner = inner_cells()
    assert found.features.grad[..., inner].any() and not found.features.grad[..., ~inner].any()
    assert found.mask_logits.grad is None and found.class_logits.grad is None


def test_it_is_zero_when_features_in_the_hole_equal_the_centroid():
    found, direction = alone(CROSSING), torch.tensor([1.0, -2, 3, 0, 1, 0.5]).double()
    features = direction[None, :, None, None].expand(2, 6, 8, 12).clone()
    assert coherence_loss(with_features(found, features), drawn_hole()).abs().max() < 1e-12
    features[..., inner_cells()] *= -3
    assert torch.allclose(coherence_loss(with_features(found, features), drawn_hole()), torch.tensor(2.0).double())


def test_an_entity_with_a_single_cell_in_the_hole_counts_in_full():
    found = alone((5, 8, 0, 5))  # of its cells only the first row's last lies in the hole
    features = torch.ones(2, 6, 8, 12).double()
    features[..., inner_cells()] *= -1
    loss = coherence_loss(with_features(found, features), drawn_hole())
    assert torch.allclose(loss, torch.tensor(2.0).double())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("box", [SUNDRY, BEYOND], ids=["inside", "outside"])
def test_an_entity_with_one_side_only_is_skipped_and_the_zero_stays_in_the_graph(form, box):
    found, hole = alone(box), drawn_hole()
    loss = coherence_loss(found, hole, ios=0.9999, form=form)  # nothing is a sundry: the side alone decides
    assert torch.equal(loss, torch.zeros(2).double())
    loss.sum().backward()
    assert torch.equal(found.features.grad, torch.zeros_like(found.features))


def test_without_any_query_that_is_sure_it_is_zero():
    found = drawn_detections([CROSSING], [False])
    assert torch.equal(coherence_loss(found, drawn_hole()), torch.zeros(2).double())


def test_pixels_of_sundries_belong_to_no_entity():
    features, reached = scene().features.detach(), []
    for boxes in ([CROSSING], [CROSSING, (2, 5, 4, 8)]):
        leaf = features.clone().requires_grad_()
        found = with_features(drawn_detections(boxes, [True] * len(boxes)), leaf)
        coherence_loss(found, drawn_hole()).sum().backward()
        reached.append(leaf.grad[..., 3, 5:7])  # well inside of the second box
    assert reached[0].all() and not reached[1].any()


def test_the_teacher_s_entities_count_and_the_student_s_only_where_the_teacher_invents():
    features, hole = scene().features, drawn_hole()
    student, sure = with_features(alone(CROSSING), features), with_features(alone(LOWER), features)
    assert torch.allclose(coherence_loss(student, hole, teacher=sure), coherence_loss(sure, hole))
    reaching_out = drawn_detections([LOWER, (2, 6, 3, 10)], [True, True])  # 24 of its 28 cells lie in the hole
    both = coherence_loss(student, hole, teacher=reaching_out)
    only_teacher = coherence_loss(with_features(alone(BEYOND), features), hole, teacher=reaching_out)
    assert (both != only_teacher).all()


def test_thresholds_tell_the_teacher_s_sundries_from_the_student_s():
    nearly_in, hole = alone((2, 6, 3, 10)), drawn_hole()  # 24 of its 28 cells lie in the hole: IoS 0.86
    assert coherence_loss(nearly_in, hole).all()
    assert not coherence_loss(alone(BEYOND), hole, teacher=nearly_in).any()
    assert coherence_loss(alone(BEYOND), hole, teacher=nearly_in, teacher_ios=0.9).all()


def test_an_entity_is_surer_than_the_score_and_not_as_sure():
    found, hole = alone(CROSSING), drawn_hole()
    for i, score in enumerate(found.entity_score[:, 0].tolist()):
        assert coherence_loss(found, hole, score=score)[i] == 0
        assert coherence_loss(found, hole, score=score - 1e-9)[i] > 0


@pytest.mark.parametrize("judge", ["student", "teacher"])
def test_the_paper_s_form_counts_pixels_and_the_authors_probabilities(judge):
    """A mask that is doubtful outside of the hole: 24 of its 28 pixels lie in it, but 0.92 of its probability."""
    doubtful, hole = drawn_detections([(2, 6, 3, 10)], [True]), drawn_hole()
    with torch.no_grad():
        doubtful.mask_logits.fill_(-20)[:, :, 2:6, 4:10] = 20
        doubtful.mask_logits[:, :, 2:6, 3] = 0.1
    given = {"teacher_ios": 0.9} if judge == "teacher" else {}
    found = with_features(alone(BEYOND), doubtful.features) if judge == "teacher" else doubtful
    teacher = doubtful if judge == "teacher" else None
    official, paper = (coherence_loss(found, hole, teacher=teacher, form=form, **given) for form in FORMS)
    assert not official.any() and paper.all()


def test_unknown_forms_are_refused():
    with pytest.raises(ValueError, match="form must be one of"):
        coherence_loss(scene(), drawn_hole(), form="literal")
