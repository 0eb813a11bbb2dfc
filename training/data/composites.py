"""Pictures with known entities, and a hole in each: what YOEO's stages train on.

A picture whose entities are known (``training.data.labelled``: a map beside it or in its shard) brings its
own; into any other picture up to four drawn or cut-out things are pasted, whose outlines are known.
Sample number ``i`` is a pure function of (seed, i).
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from training.data.holes import HOLES, large_entities
from training.data.labelled import LabelledFolder
from training.data.pictures import random_view, smooth_picture, to_tensor
from training.data.shapes_drawn import random_shape, random_thing
from training.data.shards import Shards

MOST_VIEWS = 100  # in a row that have no entity for a D2 hole: then the folder is the wrong one


class Composites(Dataset):
    """Views of pictures with a hole each; ``images`` is a folder or, where it ends in .tar, WebDataset shards.

    Items: ``image`` RGB in [0, 1] ``[3, size, size]``, ``mask`` ``[1, size, size]`` (1 = hole), ``entities``
    ``[size, size]`` ids, ``number`` alone.  One picture in ``smooth_every`` is a procedural smooth surface.
    """

    def __init__(self, images: str | Path, size: int, length: int, seed: int, holes: str, smooth_every: int = 10):
        shards = str(images).endswith(".tar")
        self.pictures = Shards(str(images), seed) if shards else LabelledFolder(images)
        self.size, self.length, self.seed = size, length, seed
        self.hole, self.smooth_every = HOLES[holes], smooth_every

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if index >= self.length:
            raise IndexError(index)  # ends a plain loop over the samples
        rng = np.random.default_rng((self.seed, index))
        for attempt in range(MOST_VIEWS):
            picture, entities = self.scene(rng, index + attempt)
            shapes = [random_shape(self.size, self.size, rng) for _ in range(3)]
            shapes += [entities == e for e in large_entities(entities)]
            hole = self.hole(entities, shapes, rng)
            if hole.any():
                break
        else:
            raise ValueError(f"pictures for D2 must show things of 0.6% of their area, got {MOST_VIEWS} views without.")
        return {
            "image": to_tensor(picture),
            "mask": torch.from_numpy(hole)[None].float(),
            "entities": torch.from_numpy(entities),
            "number": torch.tensor(index),
        }

    def scene(self, rng: np.random.Generator, index: int) -> tuple[Image.Image, np.ndarray]:
        """A picture and the ids of the entities in it, ``[size, size]`` int."""
        picture, entities = self.view(rng, index)
        return self.paste_things(picture, rng, index) if entities is None else (picture, entities)

    def view(self, rng: np.random.Generator, index: int) -> tuple[Image.Image, np.ndarray | None]:
        """A view of a picture or a smooth surface, with the ids of its entities where these are known."""
        if rng.integers(self.smooth_every) == 0:
            return smooth_picture(self.size, rng), None
        return self.pictures.draw(rng, index).view(self.size, rng)

    def paste_things(
        self, picture: Image.Image, rng: np.random.Generator, index: int
    ) -> tuple[Image.Image, np.ndarray]:
        """Up to four things from other pictures, the later over the earlier."""
        pixels = np.asarray(picture, dtype=np.float32)
        entities = np.zeros(pixels.shape[:2], dtype=np.int64)
        for entity in range(1, rng.integers(0, 5) + 1):
            other = random_view(self.pictures.draw(rng, index + entity).picture, self.size, rng)
            colours, alpha = random_thing(np.asarray(other, dtype=np.float32), *entities.shape, rng)
            pixels = pixels + alpha[..., None] * (colours - pixels)
            entities[alpha > 0.5] = entity
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), entities
