"""Pictures with known entities, and a hole in each: what the first stage trains on.

A picture with an entity map beside it (``NAME_entities.png``, ids from 1, 0 = stuff) brings its
own entities; into any other picture up to four drawn or cut-out things are pasted, whose
outlines are known.  Sample number ``i`` is a pure function of (seed, i).
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from training.holes import HOLES
from training.pictures import list_pictures, random_view, read_rgb, smooth_picture, to_tensor
from training.shapes_drawn import random_shape, random_thing

SMALLEST_ENTITY = 0.006  # of the picture's area: YOEO's sqrt(area) >= 20/255


class Composites(Dataset):
    """Views of a folder's pictures with a hole each.

    Items: ``image`` RGB in [0, 1] ``[3, size, size]``, ``mask`` ``[1, size, size]`` (1 = hole), ``entities``
    ``[size, size]`` ids.  One picture in ``smooth_every`` is a procedural smooth surface.
    """

    def __init__(self, folder: str | Path, size: int, length: int, seed: int, holes: str, smooth_every: int = 10):
        self.paths = list_pictures(folder)
        self.size, self.length, self.seed = size, length, seed
        self.hole, self.smooth_every = HOLES[holes], smooth_every

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if index >= self.length:
            raise IndexError(index)  # ends a plain loop over the samples
        rng = np.random.default_rng((self.seed, index))
        picture, entities = self.scene(rng)
        shapes = [random_shape(self.size, self.size, rng) for _ in range(3)]
        smallest = SMALLEST_ENTITY * entities.size
        shapes += [entities == e for e in np.unique(entities) if e != 0 and (entities == e).sum() >= smallest]
        hole = self.hole(entities, shapes, rng)
        return {
            "image": to_tensor(picture),
            "mask": torch.from_numpy(hole)[None].float(),
            "entities": torch.from_numpy(entities),
        }

    def scene(self, rng: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
        """A picture and the ids of the entities in it, ``[size, size]`` int."""
        if rng.integers(self.smooth_every) == 0:
            return self.paste_things(smooth_picture(self.size, rng), rng)
        path = self.paths[rng.integers(len(self.paths))]
        map_path = path.with_name(f"{path.stem}_entities.png")
        if map_path.exists():
            return self.mapped(path, map_path, rng)
        return self.paste_things(random_view(read_rgb(path), self.size, rng), rng)

    def mapped(self, path: Path, map_path: Path, rng: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
        """The same random view of a picture and of its entity map."""
        with Image.open(map_path) as stored:
            ids = stored.copy()
        picture = read_rgb(path)
        if ids.size != picture.size or ids.mode not in ("L", "P", "I", "I;16"):
            raise ValueError(
                f"an entity map must have one channel of ids and its picture's size {picture.size}, "
                f"got {map_path.name} with mode {ids.mode} and size {ids.size}."
            )
        view_seed = rng.integers(2**32)
        view = random_view(picture, self.size, np.random.default_rng(view_seed))
        ids = random_view(ids, self.size, np.random.default_rng(view_seed), False, Image.Resampling.NEAREST)
        return view, np.array(ids).astype(np.int64)

    def paste_things(self, picture: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
        """Up to four things from other pictures, the later over the earlier."""
        pixels = np.asarray(picture, dtype=np.float32)
        entities = np.zeros(pixels.shape[:2], dtype=np.int64)
        for entity in range(1, rng.integers(0, 5) + 1):
            other = random_view(read_rgb(self.paths[rng.integers(len(self.paths))]), self.size, rng)
            colours, alpha = random_thing(np.asarray(other, dtype=np.float32), *entities.shape, rng)
            pixels = pixels + alpha[..., None] * (colours - pixels)
            entities[alpha > 0.5] = entity
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), entities
