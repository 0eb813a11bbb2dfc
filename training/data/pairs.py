"""Pictures with and without copies of their own object: what EraDiff trains on.

The object is known by its matte (``training.prepare_mattes`` writes them), or drawn into the picture first
where there is no matting model to ask.  Sample number ``i`` is a pure function of (seed, i).
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from eradiff_core.synthesis import Cast, NoRoom, Pair, Ranges, cut_out, synthesise
from training.data.effects import COVERED, casting
from training.data.mattes import list_with_mattes, name_refused, read_picture_and_matte
from training.data.pictures import jitter_colour, random_view, smooth_picture, to_tensor
from training.data.pools import Facts
from training.data.poor_masks import poor
from training.data.randomness import sample_generator
from training.data.reading import BROKEN, Unusable, open_picture, read_bounded
from training.data.recipe import PUBLISHED, Recipe
from training.data.reporting import tell
from training.data.shapes_drawn import random_thing
from training.data.shards import Shards, are_shards
from training.data.sources import Files, Folder
from training.data.stream import Source, Stream, source_of

Scene = tuple[Tensor, Tensor, Tensor]  # picture [3, s, s], what its object covers [1, s, s], the object [4, h, w]
Scenes = Callable[[np.random.Generator, int], Scene]  # a sample's generator and a place in the stream of pictures
MOST_VIEWS = 100  # in a row without room for a copy: then the mattes show more than an object


class Pairs(Dataset):
    """Items: ``original`` and ``with_object`` RGB in [0, 1] ``[3, s, s]``, ``mask`` ``[1, s, s]``, ``number`` alone.

    The original is without copies and without what they cast.  Where the scenes' recipe asks for effects or for poor
    masks, the mask need not hold all in which the two pictures differ.
    """

    def __init__(self, scene: Scenes, length: int, seed: int, ranges: Ranges):
        self.scene, self.length, self.seed, self.ranges = scene, length, seed, ranges

    def __len__(self) -> int:
        return self.length

    def facts(self) -> Facts:
        """What the samples depend on."""
        scene, own = self.scene, {"samples": self.length, "seed": self.seed, **asdict(self.ranges)}
        own |= {"scenes": type(scene).__name__, "resolution": scene.size}
        return own | {"pictures": scene.stream.source.fingerprint(), **scene.recipe.facts()}

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if index >= self.length:
            raise IndexError(index)  # ends a plain loop over the samples
        rng, generator = np.random.default_rng((self.seed, index)), sample_generator(self.seed, index)
        for ahead in range(MOST_VIEWS):
            try:
                scene = self.scene(rng, index + ahead)
                pair = synthesise(*scene, generator, self.ranges, self.cast(rng))
                break
            except NoRoom:
                continue  # this view is full of its object; the next picture
        else:
            raise ValueError(
                f"objects must leave room beside them for a copy, got {MOST_VIEWS} views in a row without: "
                "do the mattes show one object each, white on black, and not what lies around it?"
            )
        mask, number = self.mask_of(pair, rng), torch.tensor(index)
        return {"original": pair.original, "with_object": pair.with_object, "mask": mask, "number": number}

    def cast(self, rng: np.random.Generator) -> Cast | None:
        """What the copies of one picture do to it, all in the same light; None where they do nothing."""
        share = self.scene.recipe.effects
        return casting(rng) if share and rng.random() < share else None

    def mask_of(self, pair: Pair, rng: np.random.Generator) -> Tensor:
        """The copies' mask as a person may give it: with what they cast, or poor; ``[1, s, s]``."""
        mask, share = pair.mask, self.scene.recipe.poor_masks
        if pair.effect.any() and rng.random() < COVERED:
            mask = torch.maximum(mask, pair.effect)
        if share and rng.random() < share:
            mask = torch.from_numpy(poor(mask[0].numpy() > 0, rng))[None].to(mask)
        return mask


def with_mattes(images: str | Path) -> tuple[Source, np.ndarray]:
    """The pictures of a folder or of shards that have mattes, by their numbers; those left out are named once.

    Raises ValueError where there is none.
    """
    if not are_shards(images):
        pairs, refused = list_with_mattes(images)
        name_refused(refused, tell)
        folder = Folder(images, names=[picture.relative_to(images).as_posix() for picture, _ in pairs])
        return folder, np.arange(len(folder))
    shards = Shards(images)
    numbers = np.flatnonzero(shards.matted)
    tell(f"{len(numbers)} of {len(shards)} pictures have mattes, which training.prepare_mattes makes")
    if not len(numbers):
        raise ValueError(f"shards must hold a picture with a matte, got none among {len(shards)} in {images}.")
    return shards, numbers


class DrawnScenes:
    """Views of a folder's photographs, a thing drawn into each: blobs and polygons cut from other photographs."""

    def __init__(self, folder: str | Path, size: int, seed: int, recipe: Recipe = PUBLISHED):
        source = source_of(folder)
        self.stream = Stream(source, np.arange(len(source)), [(size, size)], 1, seed, recipe.left_out)
        self.size, self.recipe = size, recipe

    def __call__(self, rng: np.random.Generator, place: int) -> Scene:
        every, shape = self.recipe.smooth_every, (self.size, self.size)
        background = smooth_picture(shape, rng) if every and rng.integers(every) == 0 else self.view(rng, place)
        other = np.asarray(self.view(rng, place + 1), dtype=np.float32)
        while True:
            colours, alpha = random_thing(other, self.size, self.size, rng)
            if alpha.max() > 0.5:
                break
        mixed = alpha[..., None] * colours + (1 - alpha[..., None]) * np.asarray(background, dtype=np.float32)
        image, cover = to_tensor(Image.fromarray(mixed.clip(0, 255).astype(np.uint8))), torch.from_numpy(alpha)[None]
        return image, cover, cut_out(torch.from_numpy(colours / 255).permute(2, 0, 1).float(), cover)

    def view(self, rng: np.random.Generator, place: int) -> Image.Image:
        picture = self.stream.read(place, lambda files: read_bounded(files.picture))
        view = random_view(picture, (self.size, self.size), rng)
        return jitter_colour(view, rng) if self.recipe.colour_jitter else view


class MatteScenes:
    """Views of photographs in a folder or in shards, each with its own object, known by its matte.

    The object is cut out of the whole photograph, so that a view without it has one to paste too.  Photographs that
    cannot serve are named once, with the reason.
    """

    def __init__(self, folder: str | Path, size: int, seed: int, recipe: Recipe = PUBLISHED):
        source, numbers = with_mattes(folder)
        self.stream = Stream(source, numbers, [(size, size)], 1, seed, recipe.left_out)
        self.size, self.recipe = size, recipe

    def __call__(self, rng: np.random.Generator, place: int) -> Scene:
        picture, alpha = self.stream.read(place, lambda files: self.scaled(files, rng))
        if rng.random() < 0.5:
            picture, alpha = (layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for layer in (picture, alpha))
        whole = to_tensor(jitter_colour(picture, rng) if self.recipe.colour_jitter else picture)
        cover = torch.from_numpy(np.asarray(alpha, dtype=np.float32) / 255)[None]
        top, left = (int(rng.integers(length - self.size + 1)) for length in whole.shape[1:])
        window = (slice(None), slice(top, top + self.size), slice(left, left + self.size))
        return whole[window], cover[window], cut_out(whole, cover)

    def scaled(self, files: Files, rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
        """Photograph and matte at the scale at which a random square of it has our size."""
        try:
            with open_picture(files.picture) as stored:
                shortest, longest = sorted(stored.size)
        except BROKEN as error:
            raise Unusable(f"unreadable: {error}") from error
        factor = self.size / (shortest * rng.uniform(min(1.0, self.size / shortest), 1.0))
        sides = max(self.size, round(shortest * factor)), max(self.size, round(longest * factor))
        picture, alpha = read_picture_and_matte(files.picture, files.matte, sides[1])
        size = sides if picture.width < picture.height else sides[::-1]
        return picture.resize(size, Image.Resampling.LANCZOS), alpha.resize(size, Image.Resampling.BILINEAR)


SCENES: dict[str, Callable[[str | Path, int, int, Recipe], Scenes]] = {
    "mattes": MatteScenes,
    "drawn": DrawnScenes,
}
