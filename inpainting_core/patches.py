"""The patches of a picture, and for each that is to be filled the known one that is most like it.

A patch is compared by a short code of it, its projection on the picture's own principal components (as Kumar, Zhang &
Nayar 2008, What is a good nearest neighbors algorithm for finding similar patches in images?).  All against all is one
product of matrices; where that is too much, a field of neighbours that is about right is improved by PatchMatch's two
means, what the neighbours found and random places (Barnes et al. 2009), for all patches at once.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.shapes import Bool, Float, Int
from inpainting_core.texture import mean_around

SIDE = 5  # pixels: smaller ones do not see a structure, and of larger ones few lie wholly outside the hole
CODE = 24  # numbers
LEARNED_FROM = 2000  # patches
STEPS = (1, 2, 4)  # patches between a target and the neighbours that it asks
TRIES = 4  # random places a target looks at, each three times as near as the one before
LIGHT = 0.25  # of how far two patches' colours lie apart in the mean, beside how their pixels differ
PRICE = 0.1  # of a use beyond the first, in units of the mean distance
AT_ONCE = 256  # targets that are looked at together: of more the products leave the processor's cache


class Grid:
    """All patches within a picture, numbered row by row by their top left pixels.

    ``known`` says which hold no pixel of the hole: they are the ``sources`` that may be copied, the others the
    ``targets``.  A field gives the number of a source for each target.
    """

    known: Bool[Tensor, "n"]
    sources: Int[Tensor, "s"]
    targets: Int[Tensor, "t"]

    def __init__(self, hole: Float[Tensor, "1 1 h w"]):
        touched = F.max_pool2d(hole, SIDE, stride=1)[0, 0] > 0
        self.rows, self.columns = touched.shape
        self.known = ~touched.flatten()
        self.sources, self.targets = self.known.nonzero()[:, 0], touched.flatten().nonzero()[:, 0]
        self.place = torch.full_like(self.known, -1, dtype=torch.long)  # of a patch among the targets, -1: a source
        self.place[self.targets] = torch.arange(len(self.targets), device=hole.device)

    def number(self, y: Int[Tensor, "..."], x: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The patch whose top left pixel is there; -1 where none lies within the picture."""
        inside = (y >= 0) & (y < self.rows) & (x >= 0) & (x < self.columns)
        return (y * self.columns + x).masked_fill(~inside, -1)

    def moved(self, patches: Int[Tensor, "t"], y: int | Tensor, x: int | Tensor) -> Int[Tensor, "t"]:
        """The patches so many pixels further down and to the right; -1 where they leave the picture."""
        return self.number(patches // self.columns + y, patches % self.columns + x)


def basis_of(picture: Float[Tensor, "1 c h w"], grid: Grid) -> Float[Tensor, "d c side side"]:
    """The first principal components of the known patches, the kernels that make codes."""
    some = grid.sources[:: -(-len(grid.sources) // LEARNED_FROM)]
    offset = torch.arange(SIDE, device=picture.device)
    y, x = (start[:, None] + offset for start in (some // grid.columns, some % grid.columns))
    patches = less_of_light(picture[0][:, y[:, :, None], x[:, None, :]].transpose(0, 1)).flatten(1)
    centred = patches - patches.mean(0)
    components = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -CODE:]
    return less_of_light(components.T.unflatten(1, (picture.shape[1], SIDE, SIDE))).contiguous()


def less_of_light(patches: Float[Tensor, "n c side side"]) -> Float[Tensor, "n c side side"]:
    """The patches with ``LIGHT`` of their colours' means: what a copy has too much of light is taken out of it
    (``gradients.joined``)."""
    mean = patches[:, :3].mean((2, 3), keepdim=True)
    return torch.cat([patches[:, :3] - (1 - LIGHT) * mean, patches[:, 3:]], 1)


def codes_of(picture: Float[Tensor, "1 c h w"], basis: Float[Tensor, "d c side side"]) -> Float[Tensor, "n d"]:
    """The codes of all patches; how far two lie apart is about the distance of their patches (``less_of_light``), and
    never more."""
    return F.conv2d(picture, basis)[0].flatten(1).T.contiguous()


def codes_wanted(
    picture: Float[Tensor, "1 c h w"], basis: Float[Tensor, "d c side side"], grid: Grid
) -> Float[Tensor, "t d"]:
    """The codes of the targets alone, computed in no more of the picture than they lie in."""
    y, x = grid.targets // grid.columns, grid.targets % grid.columns
    (top, bottom), (left, right) = ([int(end) for end in place.aminmax()] for place in (y, x))
    codes = codes_of(picture[..., top : bottom + SIDE, left : right + SIDE], basis)
    return codes[(y - top) * (right - left + 1) + x - left]


def nearest(
    wanted: Float[Tensor, "t d"], codes: Float[Tensor, "n d"], grid: Grid, price: Float[Tensor, "n"]
) -> tuple[Int[Tensor, "t"], Float[Tensor, "t"]]:
    """For each target's code the best source of all, the nearest for its ``price``, and its squared distance."""
    known = codes[grid.sources]
    lengths = known.square().sum(1) + price[grid.sources]
    found = [torch.addmm(lengths, part, known.T, alpha=-2).min(1) for part in wanted.split(AT_ONCE)]
    field = grid.sources[torch.cat([part.indices for part in found])]
    return field, distances(wanted, codes, field)


def improved(
    field: Int[Tensor, "t"],
    wanted: Float[Tensor, "t d"],
    codes: Float[Tensor, "n d"],
    grid: Grid,
    price: Float[Tensor, "n"],
    generator: torch.Generator,
) -> tuple[Int[Tensor, "t"], Float[Tensor, "t"]]:
    """The field after each target has looked at what lies beside its neighbours' finds, and around its own."""
    found = field, distances(wanted, codes, field) + at(price, field)
    for step in STEPS:
        for y, x in ((0, step), (step, 0), (0, -step), (-step, 0)):
            beside = grid.moved(grid.targets, y, x)
            place = at(grid.place, beside.clamp(min=0)).masked_fill(beside < 0, -1)
            proposed = grid.moved(at(found[0], place.clamp(min=0)), -y, -x).masked_fill(place < 0, -1)
            found = _better(*found, proposed, wanted, codes, grid, price)
    reach = max(grid.rows, grid.columns) // 2
    for _ in range(TRIES):
        y, x = torch.randint(-reach, reach + 1, (2, len(field)), generator=generator).to(field.device)
        found = _better(*found, grid.moved(found[0], y, x), wanted, codes, grid, price)
        reach = max(1, reach // 3)
    field = found[0]
    return field, distances(wanted, codes, field)


def _better(
    field: Tensor, cost: Tensor, proposed: Tensor, wanted: Tensor, codes: Tensor, grid: Grid, price: Tensor
) -> tuple[Tensor, Tensor]:
    """For each target the better of two sources; what is proposed may be -1 or a patch with some hole in it."""
    proposed = torch.where((proposed >= 0) & at(grid.known, proposed.clamp(min=0)), proposed, field)
    there = distances(wanted, codes, proposed) + at(price, proposed)
    better = there < cost
    return torch.where(better, proposed, field), torch.where(better, there, cost)


def price_of(field: Int[Tensor, "t"], distance: Float[Tensor, "t"], grid: Grid) -> Float[Tensor, "n"]:
    """What each patch costs beside its distance, the more the oftener those around it are copied already.

    Without it a dark hole in a rock face fills with one speck over and over, woven like a cloth (Kaspar et al. 2015,
    Self Tuning Texture Optimization, weigh occurrences likewise).  A region copied once as a whole costs nothing.
    """
    uses = torch.bincount(field, minlength=len(grid.known)).to(distance).view(1, 1, grid.rows, grid.columns)
    uses = mean_around(uses, torch.ones_like(uses), SIDE // 2).flatten()
    free = max(1.0, len(grid.targets) / len(grid.sources))
    return PRICE * distance.mean() * (uses / free - 1).clamp_min(0)


def distances(wanted: Float[Tensor, "t d"], codes: Float[Tensor, "n d"], field: Int[Tensor, "t"]) -> Float[Tensor, "t"]:
    """The squared distance of each target's code from that of its source."""
    return at(codes, field).sub_(wanted).square_().sum(1)


def at(values: Tensor, which: Int[Tensor, "..."]) -> Tensor:
    """``values[which]``, of whole rows; on a processor several times as fast as that."""
    return values.index_select(0, which.flatten()).unflatten(0, which.shape)
