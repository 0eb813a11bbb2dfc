"""Pictures with known entities, and a hole in each: what YOEO's stages train on.

A picture whose entities are known (``training.data.labelled``: a map beside it or in its shard) brings its own; into
any other picture, where such are taken at all, up to four drawn or cut-out things are pasted, whose outlines are known.
Sample number ``i`` is a pure function of (seed, i).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from inpainting_core.architecture import ModelConfig
from inpainting_core.buckets import Shape
from training.data.effects import COVERED, random_effects, visible_change
from training.data.holes import HOLES, MAX_COVERED, MAX_HOLE, covered_share, large_entities
from training.data.labelled import Labelled, read_ids, read_labelled, view_of_ids
from training.data.pictures import jitter_colour, random_view, smooth_picture, to_tensor
from training.data.pools import Facts
from training.data.poor_masks import poor
from training.data.reading import Unusable, read_bounded
from training.data.recipe import PUBLISHED, Recipe
from training.data.refused import ENTITIES
from training.data.shapes_drawn import random_shape, random_thing
from training.data.shown import as_shown
from training.data.sources import Files
from training.data.stream import Stream, labelled_numbers, source_of

MOST_VIEWS = 100  # in a row that leave no hole: then the pictures are the wrong ones
MOST_OTHERS = 4  # pictures looked at for one whose entities shape a hole
ASKED = {"d2": "pictures for D2 must show things of 0.6% of their area"}


def composites_of(recipe: Recipe, config: ModelConfig, holes: str) -> Callable[[str, int, int, int | None], Dataset]:
    """One of YOEO's sets; ``make(folder, count, seed, block)`` of ``training.data.sets``."""

    def make(folder: str, count: int, seed: int, block: int | None) -> Dataset:
        return as_shown(lambda size: Composites(folder, size, count, seed, holes, recipe, block), config)

    return make


class Composites(Dataset):
    """Views of pictures with a hole each; ``images`` is a folder or, where it ends in .tar, WebDataset shards.

    Items: ``image`` RGB in [0, 1] ``[3, h, w]``, ``mask`` ``[1, h, w]`` (1 = hole), ``entities`` ``[h, w]`` ids,
    ``number`` alone; of D1 where the recipe asks for effects ``around`` too, the image with what a thing in the hole
    would cast on it.  Views are squares of ``size``, or where ``block`` is given, shapes of nearly that area: all of a
    block of so many samples have one.  ``holes`` is a key of HOLES.
    """

    def __init__(
        self,
        images: str | Path,
        size: int,
        length: int,
        seed: int,
        holes: str,
        recipe: Recipe = PUBLISHED,
        block: int | None = None,
    ):
        source = source_of(images, ENTITIES)
        shapes = [(size, size)] if block is None else recipe.shapes(size)
        numbers = labelled_numbers(source, recipe.unlabelled)
        self.stream = Stream(source, numbers, shapes, block or 1, seed, recipe.left_out)
        self.size, self.length, self.seed, self.holes, self.recipe = size, length, seed, holes, recipe

    def __len__(self) -> int:
        return self.length

    def facts(self) -> Facts:
        """What the samples depend on."""
        own = {"holes": self.holes, "resolution": self.size, "samples": self.length, "seed": self.seed}
        return own | {"pictures": self.stream.source.fingerprint(), **self.recipe.facts()}

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if index >= self.length:
            raise IndexError(index)  # ends a plain loop over the samples
        rng = np.random.default_rng((self.seed, index))
        for ahead in range(MOST_VIEWS):
            picture, entities, cast = self.scene(rng, index, ahead)
            hole = HOLES[self.holes](entities, self.shapes(entities, rng, index, ahead), rng)
            if hole.any():
                break
        else:
            asked = ASKED.get(self.holes, "pictures must leave room for a hole between their entities")
            raise ValueError(f"{asked}, got {MOST_VIEWS} views without.")
        if self.holes == "d2":  # what is added to a hole of D1 might cover a whole entity
            hole = self.as_given(hole, entities, cast, rng)
        sample = {
            "image": to_tensor(picture),
            "mask": torch.from_numpy(hole)[None].float(),
            "entities": torch.from_numpy(entities),
            "number": torch.tensor(index),
        }
        if self.holes == "d1" and self.recipe.effects:
            sample["around"] = self.around(sample["image"], hole, rng, index)
        return sample

    def as_given(
        self, hole: np.ndarray, entities: np.ndarray, cast: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """The mask of things as a person may give it: with what they cast, or poor."""
        if cast.any() and rng.random() < COVERED:
            within = [entity for entity, share in covered_share(hole, entities).items() if share > MAX_COVERED]
            larger = hole | np.isin(cast, within)
            hole = larger if larger.mean() <= MAX_HOLE else hole
        return poor(hole, rng) if rng.random() < self.recipe.poor_masks else hole

    def around(self, image: Tensor, hole: np.ndarray, rng: np.random.Generator, index: int) -> Tensor:
        """The image as it would look around a thing in the hole, in the recipe's share of the samples."""
        if rng.random() >= self.recipe.effects:
            return image
        pixels, colours = image.permute(1, 2, 0).numpy(), self.other_view(rng, index, 1) / 255
        change = visible_change(pixels, colours, hole.astype(np.float32), random_effects(rng))
        return image + torch.from_numpy(change).permute(2, 0, 1)

    def scene(self, rng: np.random.Generator, index: int, ahead: int) -> tuple[Image.Image, np.ndarray, np.ndarray]:
        """A picture, the ids of the entities in it, and whose shadow or reflection is where (0: none's); int."""
        picture, entities = self.view(rng, index, ahead)
        if entities is None:
            return self.paste_things(picture, rng, index + ahead)
        return picture, entities, np.zeros_like(entities)

    def view(self, rng: np.random.Generator, index: int, ahead: int = 0) -> tuple[Image.Image, np.ndarray | None]:
        """A view of a picture or a smooth surface, with the ids of its entities where these are known."""
        shape, every = self.stream.shape(index), self.recipe.smooth_every
        if every and rng.integers(every) == 0:
            return smooth_picture(shape, rng), None
        picture, entities = self.stream.read(index, self.read, ahead).view(shape, rng)
        return self.in_a_light(picture, rng), entities

    def read(self, files: Files) -> Labelled:
        """A picture with its map.  Raises Unusable without one where the recipe refuses such pictures."""
        if files.entities is None and self.recipe.unlabelled == "refused":
            raise Unusable("no entity map: training.prepare_entities makes one")
        return read_labelled(files)

    def other_view(self, rng: np.random.Generator, index: int, ahead: int) -> np.ndarray:
        """A view of another picture, ``[h, w, 3]`` in 0..255."""
        other = self.stream.read(index, lambda files: read_bounded(files.picture), ahead)
        return np.asarray(self.in_a_light(random_view(other, self.stream.shape(index), rng), rng), dtype=np.float32)

    def in_a_light(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        return jitter_colour(picture, rng) if self.recipe.colour_jitter else picture

    def paste_things(
        self, picture: Image.Image, rng: np.random.Generator, index: int
    ) -> tuple[Image.Image, np.ndarray, np.ndarray]:
        """Up to four things from other pictures, the later over the earlier; what is given is as in ``scene``."""
        pixels = np.asarray(picture, dtype=np.float32)
        entities, cast = (np.zeros(pixels.shape[:2], dtype=np.int64) for _ in range(2))
        share = self.recipe.effects
        effects = random_effects(rng) if share and rng.random() < share else None  # all in the same light
        for entity in range(1, rng.integers(0, 5) + 1):
            colours, alpha = random_thing(self.other_view(rng, index, entity), *entities.shape, rng)
            if effects is not None:
                change = 255 * visible_change(pixels / 255, colours / 255, alpha, effects)
                pixels, cast[change.any(-1)] = pixels + change, entity
            pixels = pixels + alpha[..., None] * (colours - pixels)
            entities[alpha > 0.5] = entity
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), entities, cast

    def shapes(self, entities: np.ndarray, rng: np.random.Generator, index: int, ahead: int) -> list[np.ndarray]:
        """What holes may be shaped like: the picture's own things and another picture's, or drawn blobs."""
        own = [entities == e for e in large_entities(entities)]
        if self.holes == "d2":
            return []  # its holes are the things themselves
        if self.recipe.drawn_shapes:
            return [random_shape(*entities.shape, rng) for _ in range(3)] + own
        return own + self.shapes_of_another(rng, index, ahead)

    def shapes_of_another(self, rng: np.random.Generator, index: int, ahead: int) -> list[np.ndarray]:
        """The things of the next picture that shows some, none where the next few show none."""
        shape: Shape = self.stream.shape(index)
        for further in range(1, MOST_OTHERS + 1):
            ids = self.stream.read(index, read_ids, ahead + further)
            seen = np.zeros(shape, dtype=np.int64) if ids is None else view_of_ids(ids, shape, rng)
            if things := large_entities(seen):
                return [seen == e for e in things]
        return []
