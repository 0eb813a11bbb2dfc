"""A contact sheet: a row a picture, a column a method."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from evaluation.folders import Case
from inpainting_core.picture_files import read_picture, visible_rgb

CELL, HEAD, MOST = (240, 180), 18, 40


def write_sheet(path: Path, cases: list[Case], folders: dict[str, Path]) -> None:
    """Every picture before and as each method left it; of more than ``MOST`` pictures every k-th."""
    shown = cases[:: max(1, -(-len(cases) // MOST))]
    columns = ["before", *folders]
    sheet = Image.new("RGB", (CELL[0] * len(columns), HEAD + CELL[1] * len(shown)), "white")
    draw = ImageDraw.Draw(sheet)
    for x, name in enumerate(columns):
        draw.text((CELL[0] * x + 4, 3), name, fill="black")
    for y, case in enumerate(shown):
        files = [case.picture, *(folder / f"{case.name}.png" for folder in folders.values())]
        for x, file in enumerate(files):
            cell = thumbnail(file)
            if cell is not None:
                sheet.paste(cell, (CELL[0] * x, HEAD + CELL[1] * y))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=90)


def thumbnail(path: Path) -> Image.Image | None:
    """A picture in a cell; None for one that is not there or cannot be read, which was told before."""
    try:
        image = visible_rgb(read_picture(path))[0]
    except (ValueError, OSError):
        return None
    return ImageOps.pad(Image.fromarray((image.permute(1, 2, 0) * 255).round().byte().numpy()), CELL, color="white")
