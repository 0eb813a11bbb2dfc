"""A network's own picture: the literal steps of each method on the whole picture, and nothing else."""

from functools import cache

import pytest
import torch
from torch.nn import functional as F

from eradiff_core import pipeline as eradiff
from eradiff_core.attention import rectifier
from eradiff_core.sampler import ddim
from eradiff_core.sampler import path as eradiff_path
from inpainting_core.built_in import BUILT_IN, NANO_OF
from inpainting_core.engine import DiffusersEngine, load_engine
from inpainting_core.latents import masked_picture
from inpainting_core.masks import to_grid, to_nearest
from inpainting_core.protocol import Inputs
from inpainting_core.schedule import Schedule
from inpainting_core.whole import fill_whole, whole_picture
from yoeo_core import pipeline as yoeo
from yoeo_core.consistency import lcm
from yoeo_core.consistency import path as yoeo_path
from yoeo_core.official import SHAPES, nearest_shape

load = cache(lambda method: load_engine(BUILT_IN[NANO_OF[method]]))


@pytest.fixture(scope="module")
def case() -> tuple[torch.Tensor, torch.Tensor]:
    """A picture whose sides are on no grid, and the hole in it."""
    image = torch.rand(1, 3, 12, 15, generator=torch.Generator().manual_seed(0))
    image = F.interpolate(image, (72, 90), mode="bicubic").clamp(0, 1)
    mask = torch.zeros(1, 1, 72, 90)
    mask[..., 20:45, 30:70] = 1
    return image, mask


def literal(
    method: str,
    engine: DiffusersEngine,
    view: torch.Tensor,
    hole: torch.Tensor,
    strength: float = 1.0,
    share: float = 1.0,
) -> torch.Tensor:
    """Encode, sample, decode: the papers' inference, with as many draws as the engine's model asks for.

    The rest of ``share`` of what EraDiff's hole starts from is the surroundings, continued.
    """
    start = engine.encode(view) if method == "eradiff" else torch.zeros(1, 4, view.shape[-2] // 8, view.shape[-1] // 8)
    small = F.max_pool2d(hole, 8)
    masked = engine.encode(masked_picture(view, hole, engine.under_hole))
    smooth = engine.encode(masked_picture(view, hole, "continued"))
    start = torch.where(small > 0, share * start + (1 - share) * smooth, start)
    generator = torch.Generator().manual_seed(3)
    each = [generator] * engine.draws
    noise = torch.cat([torch.randn(start.shape, generator=generator) for _ in each])
    if method == "yoeo":
        latents = engine.sample(lcm(each), yoeo_path(1), noise, Inputs(start, small, masked))
    else:
        attention = rectifier(small, "rectified")
        latents = engine.sample(ddim, eradiff_path(2, strength), noise, Inputs(start, small, masked, attention))
    return engine.decode(latents.mean(0, keepdim=True))


def raw(method: str, *case: torch.Tensor, **more) -> torch.Tensor:
    pipeline, steps = (yoeo, 1) if method == "yoeo" else (eradiff, 2)
    erased = pipeline.raw(load(method), *case, steps=steps, seed=3, **more)
    assert (erased.changed == 1).all() and len(erased.crops) == 1
    return erased.image


@pytest.mark.parametrize("method", ["yoeo", "eradiff"])
def test_a_whole_picture_is_reflected_to_the_grid_and_cut(method: str, case: tuple):
    view, hole = (F.pad(part, (0, 38, 0, 56), mode="reflect") for part in case)
    expected = literal(method, load(method), view, hole)[..., :72, :90]
    assert torch.allclose(raw(method, *case), expected, atol=1e-6)


@pytest.mark.parametrize("method", ["yoeo", "eradiff"])
def test_squeezed_it_is_a_square_for_the_network_and_comes_back_at_its_size(method: str, case: tuple):
    view = F.interpolate(case[0], (128, 128), mode="bicubic", antialias=True).clamp(0, 1)
    hole = F.adaptive_max_pool2d(case[1], (128, 128))
    answer = literal(method, load(method), view, hole)
    expected = F.interpolate(answer, (72, 90), mode="bicubic", antialias=True).clamp(0, 1)
    assert torch.allclose(raw(method, *case, resolution=128), expected, atol=1e-6)


def test_a_path_may_start_mixed_with_what_is_around_the_hole(case: tuple):
    share = float(1 - Schedule().signal[499])  # half of two steps starts at t = 499
    view, hole = (F.interpolate(case[0], (128, 128), mode="bicubic", antialias=True).clamp(0, 1), case[1])
    hole = F.adaptive_max_pool2d(hole, (128, 128))
    answer = literal("eradiff", load("eradiff"), view, hole, 0.5, share)
    expected = F.interpolate(answer, (72, 90), mode="bicubic", antialias=True).clamp(0, 1)
    made = raw("eradiff", *case, resolution=128, strength=0.5, start="mixed")
    assert torch.allclose(made, expected, atol=1e-6)
    assert not torch.allclose(made, raw("eradiff", *case, resolution=128, strength=0.5), atol=1e-2)


def test_the_authors_picture_is_squeezed_to_their_shape_and_its_mask_taken_by_its_nearest_pixels():
    image = torch.rand(1, 3, 40, 100, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 40, 100)
    mask[..., 10:21, 30:52] = 1
    engine = load("yoeo")
    view = F.interpolate(image, (320, 768), mode="bicubic", antialias=True).clamp(0, 1)
    hole = F.interpolate(mask, (320, 768), mode="nearest-exact")
    masked = engine.encode(masked_picture(view, hole, engine.under_hole))
    generator = torch.Generator().manual_seed(3)
    each = [generator] * engine.draws
    noise = torch.cat([torch.randn(masked.shape, generator=generator) for _ in each])
    small = F.interpolate(hole, masked.shape[-2:], mode="nearest-exact")
    latents = engine.sample(lcm(each), yoeo_path(1), noise, Inputs(torch.zeros_like(masked), small, masked))
    answer = F.interpolate(engine.decode(latents.mean(0, keepdim=True)), (40, 100), mode="bicubic", antialias=True)
    erased = yoeo.official(engine, image, mask, steps=1, seed=3)
    assert torch.allclose(erased.image, answer.clamp(0, 1), atol=1e-6) and (erased.changed == 1).all()
    assert not torch.allclose(erased.image, yoeo.raw(engine, image, mask, steps=1, seed=3).image, atol=1e-2)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((512, 512), (512, 512)),
        ((3000, 4000), (448, 576)),
        ((1080, 1920), (384, 640)),
        ((4000, 3000), (576, 448)),
        ((1000, 500), (704, 320)),
        ((100, 900), (256, 1024)),
    ],
)
def test_the_authors_shape_is_the_one_whose_height_to_width_differs_least(size: tuple, shape: tuple):
    assert nearest_shape(*size) == shape
    assert all(side % 64 == 0 for one in SHAPES for side in one)


@pytest.mark.parametrize(("radius", "touched", "nearest"), [(8, 7.6, 3.1), (120, 760, 707)])
def test_a_touched_cell_is_hole_and_by_how_much_that_is_more(radius: int, touched: float, nearest: float):
    """Cells of 8 px under a disc, the mean over where its centre lies in a cell: what docs/erase.md says."""
    far = (torch.arange(320) - torch.arange(156, 164)[:, None]).square()  # [8, 320], from each of a cell's pixels
    discs = (far[:, None, :, None] + far[None, :, None, :] <= radius**2).float().reshape(64, 1, 320, 320)
    cells = [float(reduce(discs, 40, 40).sum()) / 64 for reduce in (to_grid, to_nearest)]
    assert cells == pytest.approx([touched, nearest], rel=0.01)


def test_each_picture_of_a_batch_has_the_answer_it_has_alone(case: tuple):
    images, masks = torch.cat([case[0], case[0].flip(-1)]), torch.cat([case[1], torch.zeros_like(case[1])])
    both = yoeo.raw(load("yoeo"), images.flip(0), torch.cat([case[1].flip(-1), case[1]]), steps=1, seed=3).image
    assert torch.equal(both[1:], raw("yoeo", *case)) and not torch.equal(both[:1], both[1:])
    half = yoeo.raw(load("yoeo"), images, masks, steps=1, seed=3)
    assert torch.equal(half.image[1], images[1]) and half.changed.amax((1, 2, 3)).tolist() == [1, 0]
    assert len(half.crops) == half.objects == 1


def test_the_mask_is_grown_only_if_asked(case: tuple):
    holes = []

    def fill(view: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
        holes.append(hole[..., :72, :90])
        return view

    fill_whole(*case, fill)
    fill_whole(*case, fill, grow_px=5)
    assert torch.equal(holes[0], case[1])
    assert holes[1][..., 15:50, 25:75].sum() == holes[1].sum() > holes[0].sum()


def test_alpha_is_handed_through_and_hidden_colours_are_not_seen(case: tuple):
    image, mask = case
    alpha = torch.ones(1, 1, 72, 90)
    alpha[..., :, 80:] = 0
    seen = []

    def fill(view: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
        seen.append(view)
        return view

    dark, bright = (torch.cat([torch.where(alpha > 0, image, colour), alpha], 1) for colour in (0.0, 1.0))
    erased = [fill_whole(picture, mask, fill).image for picture in (dark, bright)]
    assert torch.equal(*seen) and all(torch.equal(one[:, 3:], alpha) for one in erased)


def test_an_empty_mask_gives_the_picture_back_and_a_full_one_is_refused(case: tuple):
    image, mask = case
    erased = fill_whole(image, 0.4 * mask, lambda view, hole: pytest.fail("nothing to fill"))
    assert torch.equal(erased.image, image) and not erased.crops and not erased.changed.any()
    with pytest.raises(ValueError, match="mask must leave some of the picture to look at"):
        fill_whole(image, torch.ones_like(mask), lambda view, hole: view)


def test_a_shape_lies_on_the_grid():
    assert (whole_picture((1, 129)).work_height, whole_picture((1, 129)).work_width) == (64, 192)
    with pytest.raises(ValueError, match="height and width must be multiples of 64 px, got 64 and 100"):
        whole_picture((64, 64), (64, 100))


def test_a_picture_beyond_the_range_keeps_its_level():
    image, mask = torch.full((1, 3, 64, 64), 3.5), torch.zeros(64, 64)
    mask[20:40, 20:40] = 1
    assert torch.allclose(fill_whole(image, mask, lambda view, hole: view).image, image)
