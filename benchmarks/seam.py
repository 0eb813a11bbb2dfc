"""How visible the edge of an erased hole is, on a flat gradient, on noise and on texture.

    python -m benchmarks.seam [--model FILE] [--sheet seam.png]

A round hole in each picture is erased, with nothing in it to begin with.  Printed is the step across the edge of what
was changed, the mean absolute difference of neighbouring pixels on either side of it in 8-bit levels, the same in the
untouched picture, and their ratio: 1 is an edge that nobody can find.  Beside it: the fill pasted as it is, and the
fill with one mean colour taken out.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from inpainting_core.built_in import ASSETS, BUILT_IN, NANO
from inpainting_core.colour import BAND_PX, match_colour
from inpainting_core.crop import crop_picture, stitch_into
from inpainting_core.engine import DiffusersEngine, load_engine
from inpainting_core.erasing import plan
from inpainting_core.masks import dilate
from training.data.pictures import to_tensor
from training.data.reading import read_bounded
from training.running.sheets import save_sheet
from yoeo_core.consistency import path
from yoeo_core.pipeline import fill_hole

SIDE = 256


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(BUILT_IN[NANO]), help="erase checkpoint (%(default)s)")
    parser.add_argument("--sheet", help="write a picture of every case here")
    return parser.parse_args(argv)


def backgrounds() -> dict[str, Tensor]:
    """Pictures [1, 3, 256, 256] in which a step would show."""
    ramp = torch.linspace(0.25, 0.75, SIDE)
    gradient = torch.stack([ramp.expand(SIDE, SIDE), ramp[:, None].expand(SIDE, SIDE), 1 - ramp.expand(SIDE, SIDE)])[
        None
    ]
    noise = 0.5 + 0.1 * torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    photo = to_tensor(read_bounded(ASSETS / "pictures" / "wren.jpg"))[None]
    return {"gradient": gradient, "noise": noise.clamp(0, 1), "texture": photo[..., -SIDE:, -SIDE:]}


def step_across(picture: Tensor, changed: Tensor) -> float:
    """Mean absolute difference of neighbours of which one is changed and one is not, in 8-bit levels."""
    steps = []
    for dim in (-1, -2):
        edge = changed.diff(dim=dim).abs().expand(-1, 3, -1, -1) > 0
        steps.append(picture.diff(dim=dim).abs()[edge])
    return 255 * float(torch.cat(steps).mean())


def one_mean(filled: Tensor, view: Tensor, hole: Tensor) -> Tensor:
    """The fill without its mean difference on the band."""
    band = dilate(hole, BAND_PX) * (1 - hole)
    return (filled + ((view - filled) * band).sum((2, 3), keepdim=True) / band.sum()).clamp(0, 1)


MATCHES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "as it is": lambda filled, view, hole: filled,
    "one mean": one_mean,
    "matched": match_colour,
}


def erase(
    engine: DiffusersEngine, picture: Tensor, hole: Tensor, match: Callable, grow_px: int
) -> tuple[Tensor, Tensor]:
    """The erased picture and where it may differ, with this way to match colours in the place of ours."""
    (step,) = plan(hole[0], engine.resolution, grow_px, context=0.5)
    patch, seen = step.patch, step.hole
    view = crop_picture(picture, patch.crop)
    filled = fill_hole(engine, view, seen, path(2), [torch.Generator().manual_seed(0)])
    result, changed = picture.clone(), torch.zeros_like(hole)
    stitch_into(result, match(filled, view, seen), patch.crop, patch.blend, patch.box)
    top, left, bottom, right = patch.box
    changed[..., top:bottom, left:right] = patch.hole
    return result, changed


def main(args: argparse.Namespace) -> None:
    engine, rows = load_engine(args.model), []
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    hole = ((y - 128) ** 2 + (x - 120) ** 2 < 40**2).float()[None, None]
    print("| background | fill | seam | step | in the picture | ratio |\n|---|---|---|---|---|---|")
    for name, picture in backgrounds().items():
        row = [picture]
        for matching, match in MATCHES.items():
            for grow_px, seam in ((0, "hard"), (5, "5 px")):
                result, changed = erase(engine, picture, hole, match, grow_px)
                step, own = step_across(result, changed), step_across(picture, changed)
                print(f"| {name} | {matching} | {seam} | {step:.2f} | {own:.2f} | {step / own:.2f} |")
                row.append(result)
        rows.append(torch.cat(row))
    if args.sheet:
        save_sheet(rows, Path(args.sheet))


if __name__ == "__main__":
    main(parse_args())
