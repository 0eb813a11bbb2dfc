"""Objects on photographs with what they do to their surroundings, and where that is seen: for ``train_effects``."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from inpainting_core.masks import dilate
from training.data.detector_scenes import camera
from training.data.effects import random_effects, with_effects
from training.data.mattes import read_picture_and_matte
from training.data.pairs import with_mattes
from training.data.pictures import jitter_colour, random_view, smooth_picture, to_tensor
from training.data.reading import read_bounded
from training.data.shapes_drawn import random_thing
from training.data.stream import Stream, source_of

VISIBLE = 4 / 255  # a difference in the largest channel: less is not asked for
WITHOUT = 0.15  # of the scenes: an object that does nothing, as one far above its ground
ANOTHER = 0.25  # of the scenes show a second object with effects of its own, which are not this one's
LENT = 0.6  # of the objects, where there are any to lend
SIDES = (0.25, 0.55)  # of the picture's side: the object's longer one
MIDDLE = (0.35, 0.65)  # of the picture's side: where the middle of the object's box lies
SMOOTH_EVERY = 8  # one picture in so many is a plain surface
LEAST = 40  # pixels of a drawn object


class EffectScenes(Dataset):
    """Views of a folder's pictures, an object in each: drawn, or where ``mattes`` is true most of them lent.

    Objects are lent by the pictures that have mattes (``training.prepare_mattes``).

    Items: ``image`` RGB in [0, 1] ``[3, s, s]``, ``mask`` of the object as one may give it, and ``effect``, 1 where
    the object changed the picture beyond the mask; both ``[1, s, s]``.  Sample ``i`` is a pure function of (seed, i).
    """

    def __init__(
        self, folder: str | Path, size: int, length: int, seed: int, mattes: bool, left_out: Path | None = None
    ):
        source = source_of(folder)
        self.stream = Stream(source, np.arange(len(source)), [(size, size)], 1, seed, left_out)
        self.lenders = Stream(*with_mattes(folder), [(size, size)], 1, seed, left_out) if mattes else None
        self.size, self.length, self.seed = size, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if index >= self.length:
            raise IndexError(index)  # ends a plain loop over the samples
        rng = np.random.default_rng((self.seed, index))
        picture = self.view(rng, index)
        if rng.random() < ANOTHER:
            picture = self.shown(picture, *self.thing(rng, index + 2, (0.0, 1.0)), rng)[0]
        colours, alpha = self.thing(rng, index + 1, MIDDLE)
        with_object, shaded = self.shown(picture, colours, alpha, rng)
        mask = dilate(torch.from_numpy(alpha > 0.25)[None, None].float(), int(rng.integers(0, 5)))
        effect = torch.from_numpy(seen(picture, shaded))[None].float() * (1 - mask[0])
        image = to_tensor(Image.fromarray(camera(255 * with_object.astype(np.float32), rng)))
        return {"image": image, "mask": mask[0], "effect": effect}

    def view(self, rng: np.random.Generator, place: int) -> np.ndarray:
        """A view of a picture in some light, or a smooth surface, ``[h, w, 3]`` in [0, 1]."""
        if rng.integers(SMOOTH_EVERY) == 0:
            return np.asarray(smooth_picture((self.size, self.size), rng), dtype=np.float32) / 255
        picture = self.stream.read(place, lambda files: read_bounded(files.picture))
        view = jitter_colour(random_view(picture, (self.size, self.size), rng), rng)
        return np.asarray(view, dtype=np.float32) / 255

    def shown(
        self, picture: np.ndarray, colours: np.ndarray, alpha: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The picture with an object in it, and what the object makes of the picture around itself."""
        effects = random_effects(rng)
        shaded = picture if rng.random() < WITHOUT else with_effects(picture, colours, alpha, effects)
        return shaded + alpha[..., None] * (colours - shaded), shaded

    def thing(self, rng: np.random.Generator, place: int, centre: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """An object on an empty canvas, its box's middle within ``centre`` (shares of the side) where it fits.

        Colours ``[h, w, 3]`` in [0, 1] and alpha ``[h, w]``, never empty.
        """
        own = self.lent(rng, place) if self.lenders is not None and rng.random() < LENT else self.drawn(rng, place)
        box = own.getchannel("A").point(lambda value: 255 * (value > 127)).getbbox()
        width, height = box[2] - box[0], box[3] - box[1]
        scale = rng.uniform(*SIDES) * self.size / max(width, height)
        size = max(2, round(width * scale)), max(2, round(height * scale))
        own = own.resize(size, Image.Resampling.BILINEAR, box=box)
        own = own.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else own
        places = (rng.uniform(*centre) * self.size - side / 2 for side in size)
        left, top = (int(np.clip(at, 0, self.size - side)) for at, side in zip(places, size, strict=True))
        canvas = np.zeros((self.size, self.size, 4), dtype=np.float32)
        canvas[top : top + size[1], left : left + size[0]] = np.asarray(own, dtype=np.float32) / 255
        return canvas[..., :3], canvas[..., 3]

    def drawn(self, rng: np.random.Generator, place: int) -> Image.Image:
        """A drawn shape, RGBA."""
        while True:
            colours, alpha = random_thing(255 * self.view(rng, place), self.size, self.size, rng)
            if (alpha > 0.5).sum() > LEAST:
                return Image.fromarray(np.dstack([colours, 255 * alpha]).astype(np.uint8))

    def lent(self, rng: np.random.Generator, place: int) -> Image.Image:
        """A photograph's own object in another light, RGBA."""
        picture, matte = self.lenders.read(place, lambda files: read_picture_and_matte(files.picture, files.matte))
        own = jitter_colour(picture, rng)
        own.putalpha(matte)
        return own


def seen(picture: np.ndarray, shaded: np.ndarray) -> np.ndarray:
    """Where two pictures ``[h, w, 3]`` differ visibly, ``[h, w]`` bool, without the ragged edge of their noise."""
    side = len(picture)
    return ndimage.gaussian_filter(np.abs(shaded - picture).max(-1), 0.01 * side, truncate=3) > VISIBLE
