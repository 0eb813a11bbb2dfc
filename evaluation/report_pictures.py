"""A card of the report: one picture's layers, stacked so that a slider can uncover one under another."""

from base64 import b64encode
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image
from torch import Tensor

from evaluation.folders import Case
from evaluation.scene import Given
from inpainting_core.picture_files import read_picture, visible_rgb

LONGEST_PX, QUALITY = 480, 85
RED = (230, 30, 30)


def card(case: Case, rows: dict[str, dict[str, float]]) -> str:
    """All layers of a case with every method's numbers; what cannot be read was told before and is left out."""
    try:
        given = Given.read(case)
    except (ValueError, OSError):
        return ""
    before = as_image(given.picture)
    layers = {"before": before, "mask": tinted(before, given.mask)}
    if given.truth is not None:
        layers["truth"] = as_image(given.truth)
    for method, path in case.results.items():
        result = read(path)
        if result is not None:
            layers[method] = result.resize(before.size)
    inner = "".join(layer(name, image, case.name) for name, image in layers.items())
    values = "".join(number(method, name, value) for method, row in rows.items() for name, value in row.items())
    width, height = before.size
    return (
        f'<article data-name="{escape(case.name)}"><h3>{escape(case.name)}</h3>'
        f'<div class="stack" style="aspect-ratio:{width}/{height}">{inner}</div>'
        '<input type="range" min="0" max="100" value="50" aria-label="how much of the left picture is seen">'
        f'<table class="small">{table(rows)}</table>{values}</article>'
    )


def layer(name: str, image: Image.Image, case: str) -> str:
    """One picture of a card, in the page itself."""
    stream = BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    data = b64encode(stream.getvalue()).decode()
    return f'<img data-layer="{escape(name)}" alt="{escape(case)}, {escape(name)}" src="data:image/jpeg;base64,{data}">'


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


def read(path: Path) -> Image.Image | None:
    try:
        return as_image(visible_rgb(read_picture(path)))
    except (ValueError, OSError):
        return None


def as_image(image: Tensor) -> Image.Image:
    pixels = (image[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    made = Image.fromarray(pixels)
    made.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.LANCZOS)
    return made


def tinted(before: Image.Image, mask: Tensor) -> Image.Image:
    """The picture with its hole in red."""
    hole = Image.fromarray((mask[0, 0] * 140).byte().numpy()).resize(before.size)
    red = Image.new("RGB", before.size, RED)
    return Image.composite(red, before, hole)
