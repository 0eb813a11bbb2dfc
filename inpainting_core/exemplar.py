"""Complete a picture by copying: its hole becomes a patchwork of its surroundings, agreed on from coarse to fine.

Each pixel of the hole is what the patches that lie over it, each a copy of a known one, agree on (``patchwork``); the
copies are those most like what was agreed on before (Wexler, Shechtman & Irani 2007, Space-time completion of video).
The coarsest picture is first filled from the edge inwards, and patches are compared by their texture too, for at a
coarse size a lawn and a wall are the same (Newson et al. 2014, Video inpainting of complex scenes).
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from inpainting_core.choosing import Copies
from inpainting_core.membrane import spread
from inpainting_core.patches import SIDE, Grid, codes_wanted, distances, improved, nearest, price_of
from inpainting_core.patchwork import AGREEMENT, LAST_AGREEMENT, Places, Size, agreed, best_sources, melded, offsets
from inpainting_core.shapes import Float, Int
from inpainting_core.texture import mean_around

COARSEST_PX = 80  # the side of a square as large, at least: in less, too little is left of a structure to copy it
ROUNDS = (6, 6, 3)  # of searching and agreeing, from the coarsest picture on; the last number holds for all finer ones
PEELED_FROM = 3000  # sources that the first fill is taken from
VOTERS = 5  # whose median it is, so that a speck beside one of them is not sown
TEXTURE = 2.0  # how much texture counts beside colours
TEXTURE_PX = 2  # it is a mean within so many pixels
FEWEST = 50  # sources that a picture can be completed from


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
        made, sources = melded(size, places, LAST_AGREEMENT), best_sources(size, places)
    return Copies(view * known.to(view) + made.to(view) * hole, sources)


def agree_on_places(sizes: list[Size], generator: torch.Generator) -> Places:
    """Where the hole of the first of these pictures, the largest, is copied from; searched from the last on."""
    largest, coarsest = sizes[0], sizes[-1]
    places = among_all(coarsest, peeled(coarsest, generator))
    for number, (below, size) in enumerate(pairwise(reversed(sizes)), start=1):
        field = finer(places.field, below.grid, size.grid)
        agree = agreed if size is largest else melded  # where it would take longest, it is joined when it is copied
        places = among_neighbours(size, field, agree, ROUNDS[min(number, len(ROUNDS) - 1)], generator)
    return places


def among_all(size: Size, picture: Float[Tensor, "1 5 h w"]) -> Places:
    """Where the hole of a small picture is copied from, beginning with a fill: each patch is compared with all."""
    price = torch.zeros_like(size.grid.known, dtype=picture.dtype)
    for left in reversed(range(ROUNDS[0])):
        places = Places(*nearest(codes_wanted(picture, size.basis, size.grid), size.codes, size.grid, price))
        price = price_of(*places, size.grid)
        if left:
            picture = melded(size, places, AGREEMENT)
    return places


def among_neighbours(
    size: Size, field: Int[Tensor, "t"], agree: Callable[..., Tensor], rounds: int, generator: torch.Generator
) -> Places:
    """Where the hole is copied from, beginning with a field: each patch looks at what its neighbours found."""
    places, agreement = Places(field, torch.ones_like(field, dtype=size.picture.dtype)), 0.0
    for number in range(rounds):
        wanted = codes_wanted(agree(size, places, agreement), size.basis, size.grid)
        if number == 0:
            places = Places(field, distances(wanted, size.codes, field))
        price = price_of(*places, size.grid)
        places = Places(*improved(places.field, wanted, size.codes, size.grid, price, generator))
        agreement = AGREEMENT
    return places


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
