"""What is done to a picture before a network sees it: a random view, another light; and surfaces without a picture."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inpainting_core.buckets import Shape
from inpainting_core.shapes import Float


def random_view(
    picture: Image.Image,
    shape: Shape,
    rng: np.random.Generator,
    resample: Image.Resampling = Image.Resampling.LANCZOS,
) -> Image.Image:
    """A random window of the picture at a random scale, flipped half of the time, of this height and width.

    Nothing is stretched: the window has the view's own proportions.  Generators in the same state give the same view
    of two pictures of one size.
    """
    height, width = shape
    most = min(picture.width / width, picture.height / height)  # the picture's pixels to one of the view
    factor = most * rng.uniform(min(1.0, 1 / most), 1.0)
    across, down = min(picture.width, round(width * factor)), min(picture.height, round(height * factor))
    left, top = (int(rng.integers(0, room + 1)) for room in (picture.width - across, picture.height - down))
    view = picture.resize((width, height), resample, box=(left, top, left + across, top + down))
    return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else view


def jitter_colour(view: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Gain and offset for each channel: photographs of one place under other lights."""
    pixels = np.asarray(view, dtype=np.float32)
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.92, 1.08, 3)
    offset = rng.uniform(-20, 20)
    return Image.fromarray((pixels * gain + offset).clip(0, 255).astype(np.uint8))


def to_tensor(picture: Image.Image) -> Float[Tensor, "3 h w"]:
    """RGB in [0, 1], channels first."""
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1).contiguous()


def smooth_picture(shape: Shape, rng: np.random.Generator) -> Image.Image:
    """A flat colour, a gradient or soft clouds: the plain surfaces on which a wrong colour shows first."""
    cells = int(rng.choice([1, 2, 3, 6]))
    coarse = rng.uniform(0, 255, 3) + rng.uniform(-60, 60, (cells, cells, 3)) * rng.random()
    smooth = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize(shape[::-1], Image.Resampling.BICUBIC)
    grain = rng.normal(0, rng.choice([0.0, 2.0, 8.0]), (*shape, 1))
    return Image.fromarray((np.asarray(smooth, dtype=np.float32) + grain).clip(0, 255).astype(np.uint8))
