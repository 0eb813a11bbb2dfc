"""Deformable attention as a weighted sum: transformers' own layer is what it must agree with, gradients included."""

import copy

import pytest
import torch
from tiny import tiny_detector
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from yoeo_core.deformable_attention import IN_ONE_PASS, DeformableAttention, bagged, use_weighted_sums, weighted_sum

SIZES = [(3, 7), (6, 4), (5, 6)]
CELLS = sum(rows * columns for rows, columns in SIZES)


def points_read(values: Tensor, cells: Tensor, weights: Tensor, sizes: list[tuple[int, int]] = SIZES) -> Tensor:
    """The slow reference, point by point: grid_sample of one level, one head, one query, one point at a time."""
    batch, _, heads, width = values.shape
    answer = values.new_zeros(batch, cells.shape[1], heads, width)
    for b, q, h, level, p in torch.cartesian_prod(*map(torch.arange, (batch, *cells.shape[1:5]))).tolist():
        first = sum(rows * columns for rows, columns in sizes[:level])
        rows, columns = sizes[level]
        grid = values[b, first : first + rows * columns, h].T.reshape(1, width, rows, columns)
        place = (2 * cells[b, q, h, level, p] + 1) / values.new_tensor((columns, rows)) - 1
        read = grid_sample(grid, place.view(1, 1, 1, 2), align_corners=False).view(-1)
        answer[b, q, h] += weights[b, q, h, level, p] * read
    return answer


def drawn(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Values, cells within and beyond every edge, and weights, of two pictures and three heads."""
    random = torch.Generator().manual_seed(0)
    values = torch.randn(2, CELLS, 3, 5, generator=random, dtype=torch.float64)
    cells = torch.randn(2, 4, 3, 3, 2, 2, generator=random, dtype=torch.float64) * 4 + 1
    weights = torch.rand(2, 4, 3, 3, 2, generator=random, dtype=torch.float64)
    return tuple(x.to(dtype).requires_grad_() for x in (values, cells, weights))


def test_a_weighted_sum_reads_as_point_by_point():
    values, cells, weights = drawn()
    ours, slow = weighted_sum(values, SIZES, cells, weights), points_read(values, cells, weights)
    assert torch.allclose(ours, slow, atol=1e-12)
    along = torch.randn_like(slow)
    for one, other in zip(
        torch.autograd.grad(ours, (values, cells, weights), along),
        torch.autograd.grad(slow, (values, cells, weights), along),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-11)


@pytest.mark.parametrize("offset", [0.0, 0.5], ids=["on a cell", "between two"])
def test_gradients_agree_on_a_cell_and_between_two(offset):
    """On a cell a slope has two values; grid_sample's is the one behind it, exactly so where sides are powers of 2."""
    sizes = [(4, 8), (8, 4), (1, 2)]
    values, cells, weights = drawn()
    values = values[:, :66]
    cells = (cells.detach().round().clamp(0, 2) + offset).requires_grad_()
    ways = weighted_sum(values, sizes, cells, weights), points_read(values, cells, weights, sizes)
    along = torch.randn_like(ways[0])
    ours, slow = (torch.autograd.grad(way, cells, along)[0] for way in ways)
    assert torch.allclose(ours, slow, atol=1e-11)


def test_a_device_without_an_embedding_bag_gives_the_same():
    table, rows = torch.randn(9, 4, requires_grad=True), torch.randint(9, (5, 6), dtype=torch.int32)
    shares = torch.rand(5, 6, requires_grad=True)
    assert "cpu" in IN_ONE_PASS
    one, other = bagged(table, rows, shares), bagged(table, rows, shares, in_one_pass=())
    assert torch.allclose(one, other, atol=1e-6)
    for ours, theirs in zip(
        *(torch.autograd.grad(way.square().sum(), (table, shares)) for way in (one, other)), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_sums_in_single(dtype):
    values, cells, weights = drawn(dtype)
    single = weighted_sum(*(x.detach().float() if torch.is_tensor(x) else x for x in (values, SIZES, cells, weights)))
    found = weighted_sum(values, SIZES, cells, weights)
    assert found.dtype == dtype and torch.equal(found, single.to(dtype))
    found.sum().backward()
    assert all(x.grad.isfinite().all() for x in (values, cells, weights))


def test_a_point_that_is_no_number_spoils_its_own_answer_only():
    values, cells, weights = (x.detach() for x in drawn())
    cells[0, 1, 2] = torch.tensor([float("nan"), float("inf")])
    found = weighted_sum(values, SIZES, cells, weights)
    assert found[0, 1, 2].isnan().all() and found.isnan().sum() == values.shape[-1]


def test_a_layer_answers_as_transformers_does_with_a_part_that_is_no_picture():
    theirs = stock_layer()
    ours = DeformableAttention(theirs)
    given = {
        "hidden_states": torch.randn(2, CELLS, theirs.d_model),
        "position_embeddings": torch.randn(2, CELLS, theirs.d_model),
        "encoder_hidden_states": torch.randn(2, CELLS, theirs.d_model),
        "attention_mask": torch.rand(2, CELLS) < 0.3,
        "reference_points": torch.rand(2, CELLS, 3, 2),
        "spatial_shapes_list": SIZES,
    }
    for one, other in zip(ours(**given), theirs(**given), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def stock_layer() -> nn.Module:
    from transformers.models.mask2former import modeling_mask2former as theirs

    layer = theirs.Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention(24, 3, len(SIZES), 4)
    nn.init.normal_(layer.sampling_offsets.weight, std=0.3)
    return layer


def test_a_detector_takes_it_and_keeps_its_weights_names():
    detector, before = tiny_detector(), stock_network()
    names, after = list(before.state_dict()), use_weighted_sums(copy.deepcopy(before))
    assert list(after.state_dict()) == names
    pixels = torch.rand(1, 3, 64, 96)
    one, other = (network(pixel_values=pixels).pixel_decoder_last_hidden_state for network in (before, after))
    assert torch.allclose(one, other, atol=1e-5)
    for network in (detector, after):
        layers = [module for module in network.modules() if hasattr(module, "sampling_offsets")]
        assert layers and all(isinstance(layer, DeformableAttention) for layer in layers)


def stock_network() -> nn.Module:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    config = Mask2FormerConfig.from_dict(tiny_detector().network.config.to_dict())
    return Mask2FormerForUniversalSegmentation(config).eval()
