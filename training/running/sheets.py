"""Sample sheets: what a person looks at while a run goes on."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor


def save_sheet(rows: list[Tensor], path: str | Path) -> None:
    """Write rows of pictures (each ``[n, 3, h, w]``, RGB in [0, 1], all of one size) as one picture."""
    sheet = torch.cat([torch.cat(list(row.float().cpu()), dim=2) for row in rows], dim=1)
    pixels = (sheet.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=90)
