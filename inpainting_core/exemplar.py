"""Complete a picture by copying: its hole becomes a patchwork of its surroundings, agreed on from coarse to fine.

Each pixel of the hole is what the patches that lie over it, each a copy of a known one, agree on; the copies are those
most like what was agreed on before (Wexler, Shechtman & Irani 2007, Space-time completion of video).  The coarsest
picture is first filled from the edge inwards, and patches are compared by their texture too, for at a coarse size a
lawn and a wall are the same (Newson et al. 2014, Video inpainting of complex scenes).
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.choosing import Copies
from inpainting_core.membrane import spread
from inpainting_core.patches import SIDE, Grid, basis_of, codes_of, codes_wanted, distances, improved, nearest, price_of
from inpainting_core.shapes import Float, Int
from inpainting_core.texture import mean_around

COARSEST_PX = 80  # the side of a square as large, at least: in less, too little is left of a structure to copy it
ROUNDS = (6, 6, 3)  # of searching and agreeing, from the coarsest picture on; the last number holds for all finer ones
PEELED_FROM = 3000  # sources that the first fill is taken from
AGREEMENT, LAST_AGREEMENT = 1.5, 3.0  # how much better copies count for more, and in the last round
VOTERS = 5  # whose median it is, so that a speck beside one of them is not sown
TEXTURE = 2.0  # how much texture counts beside colours
TEXTURE_PX = 2  # it is a mean within so many pixels
FEWEST = 50  # sources that a picture can be completed from


@dataclass(frozen=True, eq=False)
class Size:
    """The picture at one size, its colours, and texture where it is searched; ``known`` is 1 outside the hole."""

    picture: Float[Tensor, "1 c h w"]
    known: Float[Tensor, "1 1 h w"]

    @cached_property
    def grid(self) -> Grid:
        return Grid(1 - self.known)

    @cached_property
    def basis(self) -> Float[Tensor, "d c side side"]:
        return basis_of(self.picture, self.grid)

    @cached_property
    def codes(self) -> Float[Tensor, "n d"]:
        return codes_of(self.picture, self.basis)

    @cached_property
    def open_pixels(self) -> Int[Tensor, "p 2"]:
        """Row and column of each pixel to be filled."""
        return (self.known[0, 0] == 0).nonzero()

    @cached_property
    def over(self) -> Int[Tensor, "p k"]:
        """For each pixel to be filled the targets that lie over it, by their place among the targets; -1 is none."""
        y, x = (self.open_pixels[:, axis, None] - offset for axis, offset in enumerate(offsets(self.known.device)))
        number = self.grid.number(y, x)
        return torch.where(number < 0, -1, self.grid.place[number])


@dataclass(frozen=True, eq=False)
class Places:
    """Where each patch of a hole is copied from, a field of its ``Grid``, and how well it fits, a squared distance."""

    field: Int[Tensor, "t"]
    distance: Float[Tensor, "t"]


def complete(
    view: Float[Tensor, "1 3 h w"], hole: Float[Tensor, "1 1 h w"], generator: torch.Generator
) -> Float[Tensor, "1 3 h w"]:
    """The picture with its hole filled by copies of what is known of it; known pixels come back as they are.

    view: RGB in [0, 1]; what it shows in the hole is not looked at.  hole: 1 where erased, else 0.  ``generator`` is a
    CPU one: the same seed gives the same fill.  Where hardly a patch is known, the surroundings are continued smoothly
    (``spread``).
    """
    return copied_from(find_places(view, hole, generator), view, hole).pictures


def find_places(
    view: Float[Tensor, "1 3 h w"], hole: Float[Tensor, "1 1 h w"], generator: torch.Generator
) -> Places | None:
    """Where the hole is best copied from, as in ``complete``; None where there is nothing to copy, or no hole."""
    known = 1 - hole.float()
    if min(view.shape[-2:]) < SIDE or bool(known.all()):
        return None
    sizes = pyramid(with_texture(view.float() * known, known), known)
    return agree_on_places(sizes, generator) if len(sizes[-1].grid.sources) >= FEWEST else None


def copied_from(places: Places | None, view: Float[Tensor, "1 3 h w"], hole: Float[Tensor, "1 1 h w"]) -> Copies:
    """The picture with its hole filled from these places, or smoothly without any."""
    known = 1 - hole.float()
    size = Size(view.float() * known, known)
    if places is None:
        made, sources = spread(size.picture, known), torch.full((1, 2, *view.shape[-2:]), -1, device=view.device)
    else:
        made = agreed(size, places.field, places.distance, LAST_AGREEMENT)
        sources = best_sources(size, places)
    return Copies(view * known.to(view) + made.to(view) * hole, sources)


def best_sources(size: Size, places: Places) -> Int[Tensor, "1 2 h w"]:
    """Where each pixel of the hole stands in the best of the patches that are copied over it; -1 outside the hole."""
    best = torch.where(size.over >= 0, places.distance[size.over.clamp(min=0)], torch.inf).argmin(1)
    patch = places.field[size.over[torch.arange(len(best), device=best.device), best]]
    down, right = offsets(best.device)
    y, x = patch // size.grid.columns + down[best], patch % size.grid.columns + right[best]
    sources = torch.full((1, 2, *size.picture.shape[-2:]), -1, device=best.device)
    sources[0, :, size.open_pixels[:, 0], size.open_pixels[:, 1]] = torch.stack([y, x])
    return sources


def agree_on_places(sizes: list[Size], generator: torch.Generator) -> Places:
    """Where the hole of the first of these pictures, the largest, is copied from; searched from the last on."""
    *larger, coarsest = sizes
    picture, grid = peeled(coarsest, generator), coarsest.grid
    price = torch.zeros_like(grid.known, dtype=picture.dtype)
    for left in reversed(range(ROUNDS[0])):
        field, distance = nearest(codes_wanted(picture, coarsest.basis, grid), coarsest.codes, grid, price)
        price = price_of(field, distance, grid)
        if left or larger:
            picture = agreed(coarsest, field, distance, AGREEMENT)
    for number, size in enumerate(reversed(larger), start=1):
        field, grid = finer(field, grid, size.grid), size.grid
        picture = agreed(size, field, torch.ones_like(field, dtype=picture.dtype), 0)
        wanted = codes_wanted(picture, size.basis, grid)
        distance = distances(wanted, size.codes, field)
        for left in reversed(range(ROUNDS[min(number, len(ROUNDS) - 1)])):
            price = price_of(field, distance, grid)
            field, distance = improved(field, wanted, size.codes, grid, price, generator)
            if left or size is not sizes[0]:
                picture = agreed(size, field, distance, AGREEMENT)
            if left:
                wanted = codes_wanted(picture, size.basis, grid)
    return Places(field, distance)


def offsets(device: torch.device) -> tuple[Int[Tensor, "k"], Int[Tensor, "k"]]:
    """Row and column of each pixel in a patch."""
    k = torch.arange(SIDE**2, device=device)
    return k // SIDE, k % SIDE


def with_texture(picture: Float[Tensor, "1 3 h w"], known: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "1 5 h w"]:
    """The picture and how strongly its known neighbours differ around each pixel, across and down."""
    grey = picture.mean(1, keepdim=True)
    across = F.pad((grey.diff(dim=-1)).abs() * known[..., 1:] * known[..., :-1], (0, 1))
    down = F.pad((grey.diff(dim=-2)).abs() * known[..., 1:, :] * known[..., :-1, :], (0, 0, 0, 1))
    strength = mean_around(torch.cat([across, down], 1), known, TEXTURE_PX)
    return torch.cat([picture, TEXTURE * known * strength], 1)


def pyramid(picture: Float[Tensor, "1 5 h w"], known: Float[Tensor, "1 1 h w"]) -> list[Size]:
    """The picture and its halves, as long as they are large enough and enough of their patches are known."""
    sizes = [Size(picture, known)]
    while picture[0, 0].numel() >= (2 * COARSEST_PX) ** 2:
        picture, share = (F.avg_pool2d(part, 2, ceil_mode=True) for part in (picture, known))
        known = (share == 1).to(known)
        picture = picture * known
        sizes.append(Size(picture, known))
        if len(sizes[-1].grid.sources) < FEWEST:
            return sizes[:-1]
    return sizes


def peeled(size: Size, generator: torch.Generator) -> Float[Tensor, "1 5 h w"]:
    """The hole filled from its edge inwards, a ring at a time: each of its pixels by the patch that is most like what
    is known around it, of so many picked at random."""
    picture, known, grid = size.picture.clone(), size.known.clone(), size.grid
    some = grid.sources[torch.randperm(len(grid.sources), generator=generator)[:PEELED_FROM].to(picture.device)]
    sources = patches_at(picture, grid, some)
    lengths = sources.square().unflatten(1, (-1, SIDE**2)).sum(1)
    while not known.all():
        y, x = (F.max_pool2d(known, 3, 1, 1) > known)[0, 0].nonzero().unbind(1)
        top, left = (y - SIDE // 2).clamp(0, grid.rows - 1), (x - SIDE // 2).clamp(0, grid.columns - 1)
        looks, seen = (patches_at(part, grid, grid.number(top, left)) for part in (picture, known))
        far = torch.addmm(seen @ lengths.T, looks, sources.T, alpha=-2)
        like = some[far.topk(min(VOTERS, len(some)), largest=False).indices]
        from_y, from_x = like // grid.columns + (y - top)[:, None], like % grid.columns + (x - left)[:, None]
        picture[..., y, x], known[..., y, x] = picture[..., from_y, from_x].median(-1).values, 1
    return picture


def patches_at(picture: Float[Tensor, "1 c h w"], grid: Grid, which: Int[Tensor, "n"]) -> Float[Tensor, "n k"]:
    """The pixels of some patches, channel by channel."""
    down, right = offsets(picture.device)
    y, x = which[:, None] // grid.columns + down, which[:, None] % grid.columns + right
    return picture[0][:, y, x].transpose(0, 1).flatten(1)


def finer(field: Int[Tensor, "s"], coarse: Grid, fine: Grid) -> Int[Tensor, "t"]:
    """A field for the picture of twice the size: each target's source is where that of the target below is."""
    half = SIDE // 2
    sources = torch.arange(len(coarse.known), device=field.device)
    sources[coarse.targets] = field
    y, x = fine.targets // fine.columns + half, fine.targets % fine.columns + half  # of the pixels in the middle
    below_y, below_x = (y // 2).clamp(half, coarse.rows - 1 + half), (x // 2).clamp(half, coarse.columns - 1 + half)
    source = sources[coarse.number(below_y - half, below_x - half)]
    from_y = 2 * (source // coarse.columns + half) + y - 2 * below_y - half
    from_x = 2 * (source % coarse.columns + half) + x - 2 * below_x - half
    return fine.number(from_y.clamp(0, fine.rows - 1), from_x.clamp(0, fine.columns - 1))


def agreed(
    size: Size, field: Int[Tensor, "t"], distance: Float[Tensor, "t"], agreement: float
) -> Float[Tensor, "1 c h w"]:
    """The picture with each pixel of its hole as the patches copied over it have it, a mean that is weighted by how
    well they fit: e to the minus ``agreement`` times their distance beyond the best one's, in units of the mean one's.
    """
    some, place = size.over >= 0, size.over.clamp(min=0)
    far = torch.where(some, distance[place], 0)
    mean = far.sum(1, keepdim=True) / some.sum(1, keepdim=True)
    best = torch.where(some, far, torch.inf).amin(1, keepdim=True)
    weight = some * torch.exp(-agreement * (far - best) / mean.clamp_min(torch.finfo(mean.dtype).tiny))
    down, right = offsets(field.device)
    y, x = field[place] // size.grid.columns + down, field[place] % size.grid.columns + right
    copies = size.picture[0].flatten(1).T[y * size.picture.shape[-1] + x]
    picture = size.picture.clone()
    made = (weight[..., None] * copies).sum(1) / weight.sum(1, keepdim=True)
    picture[0, :, size.open_pixels[:, 0], size.open_pixels[:, 1]] = made.T
    return picture
