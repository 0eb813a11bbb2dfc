"""Pictures to train on: random views of a folder, each a pure function of (seed, index).

Because sample number ``i`` never depends on what was drawn before it, a resumed run
continues with exactly the batches that an uninterrupted one would have seen.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from inpainting_core.shapes import Float
from training.data.reading import as_rgb

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def list_pictures(folder: str | Path) -> list[Path]:
    """All pictures below a folder, sorted; what lies beside them
    (``*_mask``, ``*_matte``, ``*_entities``) is left out.

    Raises ValueError where there is none.
    """
    paths = [p for p in sorted(Path(folder).rglob("*")) if p.suffix.lower() in SUFFIXES]
    paths = [p for p in paths if not p.stem.endswith(("_mask", "_matte", "_entities"))]
    if not paths:
        raise ValueError(f"a training folder must hold .jpg, .png or .webp pictures, got none in {folder}.")
    return paths


@lru_cache(maxsize=512)
def read_rgb(path: Path) -> Image.Image:
    """One picture to train on as 8-bit RGB, kept in memory for the next time.

    Not turned by its EXIF, because the maps and mattes beside it are of the stored pixels; pictures to erase from are
    read by ``inpainting_core.picture_files``.
    """
    with Image.open(path) as picture:
        return as_rgb(picture)


def random_view(
    picture: Image.Image,
    size: int,
    rng: np.random.Generator,
    jitter: bool = True,
    resample: Image.Resampling = Image.Resampling.LANCZOS,
) -> Image.Image:
    """A random square of the picture at a random scale, flipped half of the time, ``size`` px wide.

    Generators in the same state give the same view of two pictures of one size.
    """
    shortest = min(picture.size)
    side = int(round(shortest * rng.uniform(min(1.0, size / shortest), 1.0)))
    left = rng.integers(0, picture.width - side + 1)
    top = rng.integers(0, picture.height - side + 1)
    view = picture.resize((size, size), resample, box=(left, top, left + side, top + side))
    if rng.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return jitter_colour(view, rng) if jitter else view


def jitter_colour(view: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Gain and offset for each channel: photographs of one place under other lights."""
    pixels = np.asarray(view, dtype=np.float32)
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.92, 1.08, 3)
    offset = rng.uniform(-20, 20)
    return Image.fromarray((pixels * gain + offset).clip(0, 255).astype(np.uint8))


def to_tensor(picture: Image.Image) -> Float[Tensor, "3 h w"]:
    """RGB in [0, 1], channels first."""
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1).contiguous()


def smooth_picture(size: int, rng: np.random.Generator) -> Image.Image:
    """A flat colour, a gradient or soft clouds: the plain surfaces on which a wrong colour shows first."""
    cells = int(rng.choice([1, 2, 3, 6]))
    coarse = rng.uniform(0, 255, 3) + rng.uniform(-60, 60, (cells, cells, 3)) * rng.random()
    smooth = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    grain = rng.normal(0, rng.choice([0.0, 2.0, 8.0]), (size, size, 1))
    return Image.fromarray((np.asarray(smooth, dtype=np.float32) + grain).clip(0, 255).astype(np.uint8))


class PictureViews(Dataset):
    """Random views of a folder's pictures, one in ``smooth_every`` a procedural smooth surface instead.

    Items are RGB in [0, 1], ``[3, size, size]``.
    """

    def __init__(self, folder: str | Path, size: int, length: int, seed: int, smooth_every: int = 12):
        self.paths = list_pictures(folder)
        self.size, self.length, self.seed, self.smooth_every = size, length, seed, smooth_every

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Float[Tensor, "3 h w"]:
        if index >= self.length:
            raise IndexError(index)  # ends a plain loop over the samples
        rng = np.random.default_rng((self.seed, index))
        if rng.integers(self.smooth_every) == 0:
            return to_tensor(smooth_picture(self.size, rng))
        picture = read_rgb(self.paths[rng.integers(len(self.paths))])
        return to_tensor(random_view(picture, self.size, rng))
