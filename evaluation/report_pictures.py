"""A card of the report: one picture's layers, stacked so that a slider can uncover one under another."""

from base64 import b64encode
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image
from torch import Tensor

from evaluation.folders import Case
from evaluation.scene import Given
from inpainting_core.masks import bounding_boxes

LONGEST_PX, HOLE_PX, QUALITY = 480, 160, 85
AROUND = 0.5  # of the mask's box, on each side: what the close-ups show besides the hole
RED = (230, 30, 30)


def card(case: Case, rows: dict[str, dict[str, float]]) -> str:
    """All layers of a case with every method's numbers; what cannot be read was told before and is left out."""
    try:
        given = Given.read(case)
    except (ValueError, OSError):
        return ""
    pictures = {"before": given.picture} | ({} if given.truth is None else {"truth": given.truth})
    pictures |= {method: result for method, path in case.results.items() if (result := read(given, path)) is not None}
    before = as_image(given.picture)
    layers = {"before": before, "mask": tinted(before, given.mask)}
    layers |= {name: as_image(picture) for name, picture in pictures.items() if name != "before"}
    inner = "".join(layer(name, image, case.name) for name, image in layers.items())
    values = "".join(number(method, name, value) for method, row in rows.items() for name, value in row.items())
    width, height = before.size
    return (
        f'<article data-name="{escape(case.name)}"><h3>{escape(case.name)}</h3>'
        f'<div class="stack" style="aspect-ratio:{width}/{height}">{inner}</div>'
        '<input type="range" min="0" max="100" value="50" aria-label="how much of the left picture is seen">'
        f'<div class="holes">{close_ups(pictures, around_hole(given.mask), case.name)}</div>'
        f'<table class="small">{table(rows)}</table>{values}</article>'
    )


def around_hole(mask: Tensor) -> tuple[slice, slice]:
    """The mask's box and some of its surroundings."""
    top, left, bottom, right = bounding_boxes(mask.amax((0, 1)).int())[0]
    more = round(AROUND * max(bottom - top, right - left))
    return slice(max(0, top - more), bottom + more), slice(max(0, left - more), right + more)


def close_ups(pictures: dict[str, Tensor], where: tuple[slice, slice], case: str) -> str:
    """The hole in every picture, side by side."""
    return "".join(
        f"<figure>{embedded(as_image(picture[..., where[0], where[1]], HOLE_PX), f'{case}, the hole in {name}')}"
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for name, picture in pictures.items()
    )


def layer(name: str, image: Image.Image, case: str) -> str:
    return embedded(image, f"{case}, {name}", f' data-layer="{escape(name)}"')


def embedded(image: Image.Image, says: str, more: str = "") -> str:
    """A picture in the page itself."""
    stream = BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    data = b64encode(stream.getvalue()).decode()
    return f'<img{more} alt="{escape(says)}" src="data:image/jpeg;base64,{data}">'


def number(method: str, name: str, value: float) -> str:
    return f'<data data-order="{escape(f"{method}: {name}")}" value="{value!r}"></data>'


def table(rows: dict[str, dict[str, float]]) -> str:
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = []
    for method, row in rows.items():
        cells = "".join(f"<td>{row[name]:.4g}</td>" if name in row else "<td>–</td>" for name in names)
        lines.append(f"<tr><th>{escape(method)}</th>{cells}</tr>")
    return f"<tr><th></th>{head}</tr>{''.join(lines)}"


def read(given: Given, path: Path) -> Tensor | None:
    """A result at its picture's size."""
    try:
        return given.scene(path).result
    except (ValueError, OSError):
        return None


def as_image(image: Tensor, longest_px: int = LONGEST_PX) -> Image.Image:
    pixels = (image[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    made = Image.fromarray(pixels)
    made.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
    return made


def tinted(before: Image.Image, mask: Tensor) -> Image.Image:
    """The picture with its hole in red."""
    hole = Image.fromarray((mask[0, 0] * 140).byte().numpy()).resize(before.size)
    red = Image.new("RGB", before.size, RED)
    return Image.composite(red, before, hole)
