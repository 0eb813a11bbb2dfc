"""The slow and obvious twin of joining copies by their steps; tests hold the two together."""

import torch
from torch import Tensor

NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0))  # to the right, to the left, below, above
BACK = (1, 0, 3, 2)  # from the neighbour to the pixel


def joined_by_solving(picture: Tensor, steps: Tensor, hole: Tensor, held: float) -> Tensor:
    """``[c, h, w]``: one equation for each pixel of the hole, all solved at once, in double precision."""
    open_ = [tuple(place) for place in hole.nonzero().tolist()]
    number, (height, width) = {place: n for n, place in enumerate(open_)}, hole.shape
    left = torch.zeros(len(open_), len(open_), dtype=torch.float64)
    right = torch.zeros(len(open_), len(picture), dtype=torch.float64)
    for (y, x), n in number.items():
        left[n, n], right[n] = held, held * picture[:, y, x]
        for k, (down, across) in enumerate(NEIGHBOURS):
            v, u = y + down, x + across
            if not (0 <= v < height and 0 <= u < width):
                continue
            step = steps[k, :, y, x].double()
            left[n, n] += 1
            if (v, u) in number:
                step = (step - steps[BACK[k], :, v, u]) / 2
                left[n, number[v, u]] -= 1
            else:
                right[n] += picture[:, v, u]
            right[n] -= step
    made = picture.clone()
    made[:, hole > 0] = torch.linalg.solve(left, right).T.to(made)
    return made
