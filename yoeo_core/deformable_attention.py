"""Multi-scale deformable attention (Zhu et al. 2021, eq. 2) as a weighted sum of rows that is never written down.

A query reads a few points on every level of a pyramid, and a point is the four cells around it, by how near they are.
So an answer is a sum of ``levels x points x 4`` rows of the values, which torch's embedding bag gathers and weighs in
one pass.  transformers first writes down all that is read, ``levels x points`` times as much as the answers.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag
from torch.utils.checkpoint import checkpoint

from inpainting_core.shapes import Bool, Float, Int

IN_ONE_PASS = ("cpu", "cuda")  # devices whose embedding bag weighs rows and has gradients
PARTS = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")


class DeformableAttention(nn.Module):
    """A layer of Mask2Former's pixel decoder with the weights of transformers', under their names."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        for part in PARTS:
            setattr(self, part, getattr(layer, part))
        self.shape = layer.n_heads, layer.n_levels, layer.n_points

    def forward(
        self,
        hidden_states: Float[Tensor, "b q c"],
        attention_mask: Bool[Tensor, "b n"] | None = None,
        *,
        encoder_hidden_states: Float[Tensor, "b n c"],
        reference_points: Float[Tensor, "b q levels 2"],
        spatial_shapes_list: Sequence[tuple[int, int]],
        position_embeddings: Float[Tensor, "b q c"] | None = None,
        **_: object,
    ) -> tuple[Float[Tensor, "b q c"], Float[Tensor, "b q heads levels points"]]:
        """The answers, and how much each query listens to each point; the arguments are those of transformers' layer.

        ``attention_mask`` is True where there is no picture; the levels' (h, w) are ``spatial_shapes_list``.
        """
        queries = hidden_states if position_embeddings is None else hidden_states + position_embeddings
        each = (*queries.shape[:2], *self.shape)
        weights = self.attention_weights(queries).unflatten(-1, (self.shape[0], -1)).softmax(-1).view(each)
        values = self.value_proj(encoder_hidden_states)
        if attention_mask is not None:
            values = values.masked_fill(attention_mask[..., None], 0)
        sides = reference_points.new_tensor([(columns, rows) for rows, columns in spatial_shapes_list])[:, None]
        cells = reference_points[:, :, None, :, None] * sides + self.sampling_offsets(queries).view(*each, 2) - 0.5
        given = values.unflatten(-1, (self.shape[0], -1)), spatial_shapes_list, cells, weights
        # which cells are read, and by what share, is computed again for the gradient: it is quick and would fill 0.1 GB
        read = checkpoint(weighted_sum, *given, use_reentrant=False, preserve_rng_state=False)
        return self.output_proj(read.flatten(-2)), weights


def use_weighted_sums(network: nn.Module) -> nn.Module:
    """The network, a transformers' Mask2Former, whose deformable layers are replaced in place by this one."""
    from transformers.models.mask2former import modeling_mask2former as theirs

    for module in list(network.modules()):
        for name, layer in module.named_children():
            if isinstance(layer, theirs.Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention):
                setattr(module, name, DeformableAttention(layer).train(layer.training))
    return network


def weighted_sum(
    values: Float[Tensor, "b n heads c"],
    sizes: Sequence[tuple[int, int]],
    cells: Float[Tensor, "b q heads levels points 2"],
    weights: Float[Tensor, "b q heads levels points"],
) -> Float[Tensor, "b q heads c"]:
    """The values at ``cells``, read bilinearly and 0 beyond the edge, summed by ``weights``.

    ``values`` are the levels' cells, row by row, one level after the other; ``sizes`` are their (h, w).  ``cells`` are
    (x, y), 0 in the middle of the first cell.  Reckoned in single precision at the least.
    """
    batch, n, heads, width = values.shape
    dtype = torch.promote_types(values.dtype, torch.float32)
    table, answer, first = values.to(dtype).reshape(-1, width), 0, 0
    # a table's rows lie picture by picture, cell by cell, head by head
    picture, head = torch.arange(batch, device=values.device), torch.arange(heads, device=values.device)
    own = (picture.view(-1, 1, 1, 1) * n * heads + head.view(-1, 1)).int()
    points = cells.to(dtype).permute(3, 5, 0, 1, 2, 4).contiguous()  # each coordinate by itself, which is quicker
    for (rows, columns), (x, y), listened in zip(sizes, points, weights.to(dtype).unbind(3), strict=True):
        corners = [(cell, listened * share) for cell, share in corners_of(x, y, rows, columns)]
        cell, share = (torch.cat(several, -1) for several in zip(*corners, strict=True))
        answer = answer + bagged(table, ((first + cell) * heads + own).flatten(0, 2), share.flatten(0, 2))
        first += rows * columns
    return answer.to(values.dtype).view(batch, -1, heads, width)


def bagged(
    table: Float[Tensor, "n c"],
    rows: Int[Tensor, "bags each"],
    shares: Float[Tensor, "bags each"],
    in_one_pass: Sequence[str] = IN_ONE_PASS,
) -> Float[Tensor, "bags c"]:
    """For each bag, the sum of those rows of a table by their shares."""
    if table.device.type in in_one_pass:
        return embedding_bag(rows, table, mode="sum", per_sample_weights=shares)
    return (table[rows.long()] * shares[..., None]).sum(1)


def corners_of(
    x: Float[Tensor, "*points"], y: Float[Tensor, "*points"], rows: int, columns: int
) -> Iterator[tuple[Int[Tensor, "*points"], Float[Tensor, "*points"]]]:
    """The four cells of a grid around each point, by number, and the point's share of each: 0 beyond the edge."""
    for row, down in _sides_of(y, rows):
        for column, along in _sides_of(x, columns):
            yield row * columns + column, down * along


def _sides_of(
    at: Float[Tensor, "*points"], length: int
) -> list[tuple[Int[Tensor, "*points"], Float[Tensor, "*points"]]]:
    """The cells before and behind each point of a line, and the point's share of each."""
    before = at.detach().floor()
    beyond = at - before
    sides = (before, 1 - beyond), (before + 1, beyond)
    # clamped as whole numbers: a point that is no number has a cell all the same, and a share that is none
    return [(cell.int().clamp(0, length - 1), share * ((cell >= 0) & (cell < length))) for cell, share in sides]
