"""Pictures that teach a detector what a thing is, and what only looks like one.

As a judge of erased pictures it meets what a network drew: things without sharp edges, smears, faint
ghosts and mottling.  Soft things are taught as things; smears and ghosts (opacity below a half) as nothing.
"""

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from training.data.composites import Composites
from training.data.encoding import Encoder
from training.data.order import Order
from training.data.pictures import to_tensor
from training.data.pools import Pool, claim, encode_parts
from training.data.randomness import normal_like, sample_generator
from training.data.real_things import RealThings
from training.data.recipe import PUBLISHED, Recipe
from training.data.shapes_drawn import closed_outline, coverage, random_thing

SMALLEST_VISIBLE = 0.003  # of the picture: less than this of a thing is not asked for


class EntityScenes(Dataset):
    """Pictures with the ids of the entities in them; sample ``i`` is a pure function of (seed, i).

    A picture with an entity map brings its own entities; things, smears and ghosts are drawn into any other that the
    recipe takes.  A share ``near`` of the samples are views around one thing of a map; into a share ``pasted`` of the
    pictures without a map go things of the others, cut out along theirs, in place of drawn ones.
    Items: ``image`` RGB in [0, 1] ``[3, size, size]``, ``entities`` ``[size, size]`` ids, 0 = nothing, ``number``.
    """

    def __init__(
        self,
        folder: str | Path,
        size: int,
        length: int,
        seed: int,
        recipe: Recipe = PUBLISHED,
        near: float = 0.0,
        pasted: float = 0.0,
    ):
        self.pictures, self.size = Composites(folder, size, length, seed, "d1", recipe), size
        self.near, self.pasted = near, pasted
        if near or pasted:
            self.things = RealThings(self.pictures.stream.source, size, seed, self.pictures.in_a_light)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if index >= len(self):
            raise IndexError(index)  # ends a plain loop over the samples
        rng = np.random.default_rng((self.pictures.seed, index))
        picture, entities = self.scene(rng, index)
        image = to_tensor(Image.fromarray(camera(np.asarray(picture, dtype=np.float32), rng)))
        return {"image": image, "entities": torch.from_numpy(visible(entities)), "number": torch.tensor(index)}

    def scene(self, rng: np.random.Generator, index: int) -> tuple[Image.Image, np.ndarray]:
        """A picture and the ids of the things in it, before a camera sees them."""
        if self.near and rng.random() < self.near:
            return self.things.near(index, rng)
        picture, entities = self.pictures.view(rng, index)
        if entities is not None:
            return picture, entities
        if self.pasted and rng.random() < self.pasted:
            return self.with_cut_outs(picture, rng, index)
        return self.drawn(picture, rng, index)

    def with_cut_outs(
        self, picture: Image.Image, rng: np.random.Generator, index: int
    ) -> tuple[Image.Image, np.ndarray]:
        """One to three real things in a picture that they were not in, the later over the earlier."""
        pixels = np.asarray(picture, dtype=np.float32)
        entities = np.zeros(pixels.shape[:2], dtype=np.int64)
        for entity in range(1, rng.integers(1, 4) + 1):
            colours, alpha = self.things.cut_out(3 * index + entity, rng)
            pixels = pixels + alpha[..., None] * (colours - pixels)
            entities[alpha > 0.5] = entity
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), entities

    def drawn(self, picture: Image.Image, rng: np.random.Generator, index: int) -> tuple[Image.Image, np.ndarray]:
        """Distractions first, so that things lie over them; then sharp things and, now and then, a soft one."""
        pixels = np.asarray(picture, dtype=np.float32)
        for _ in range(rng.choice([0, 0, 1, 2])):
            ghost = rng.random() >= 0.5
            pixels = self.thing(pixels, rng, index, rng.uniform(0.05, 0.35))[0] if ghost else smear(pixels, rng)
        picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        picture, entities, _ = self.pictures.paste_things(picture, rng, index)
        if rng.random() < 0.4:
            pixels, alpha = self.thing(np.asarray(picture, dtype=np.float32), rng, index, rng.uniform(0.65, 1.0))
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            entities[alpha > 0.5] = entities.max() + 1
        return picture, entities

    def thing(
        self, pixels: np.ndarray, rng: np.random.Generator, index: int, opacity: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """One thing with a blurred edge, at this opacity: the new pixels and its alpha before the opacity."""
        colours, alpha = random_thing(self.pictures.other_view(rng, index, 1), *pixels.shape[:2], rng)
        alpha = ndimage.gaussian_filter(alpha, rng.uniform(0.003, 0.02) * self.size)
        return pixels + opacity * alpha[..., None] * (colours - pixels), alpha


def smear(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur one soft region, as a weak erasure leaves it: nothing is there."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    outline = closed_outline(rng) * rng.uniform(0.08, 0.4) * side + rng.uniform(0.1, 0.9, 2) * (width, height)
    alpha = ndimage.gaussian_filter(coverage(outline, height, width), rng.uniform(0.002, 0.02) * side)
    sigma = rng.uniform(0.01, 0.08) * side
    blurred = ndimage.gaussian_filter(pixels, (sigma, sigma, 0))
    return pixels + alpha[..., None] * (blurred - pixels)


def camera(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A little blur in one picture of three, a little noise in another: ``[h, w, 3]`` 8-bit."""
    if rng.random() < 0.3:
        sigma = rng.uniform(0.2, 1.2)
        pixels = ndimage.gaussian_filter(pixels, (sigma, sigma, 0))
    if rng.random() < 0.3:
        pixels = pixels + rng.normal(0, rng.uniform(1, 8), pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8)


def visible(entities: np.ndarray) -> np.ndarray:
    """The map without the things of which too little is to be seen; ids run from 1 without gaps."""
    ids, places = np.unique(entities, return_inverse=True)
    area = np.bincount(places.ravel()) / entities.size
    kept = (ids != 0) & (area >= SMALLEST_VISIBLE)
    return (np.cumsum(kept) * kept)[places].reshape(entities.shape)


@torch.no_grad()
def through_autoencoder(image: Tensor, encoder: Encoder, generators: list[torch.Generator]) -> Tensor:
    """Encode and decode ``[b, 3, h, w]``, half of the time with up to 0.25 of noise on the unit-variance latent."""
    latent = encoder.encode(image)
    drawn = torch.stack([torch.rand((), generator=generator) for generator in generators])
    amount = (drawn * 0.5 - 0.25).clamp_min(0)[:, None, None, None]
    return encoder.decode(latent + normal_like(latent, generators) * amount.to(latent)).to(image)


def decoded_pool(
    scenes: EntityScenes, encoder: Encoder, folder: Path, batch_size: int, workers: int, accelerator: Accelerator
) -> Pool:
    """Every scene as the autoencoder gives it back, made once by all processes and kept in a folder; 8 bits a value."""

    def decode(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        generators = [sample_generator(scenes.pictures.seed, number) for number in batch["number"].tolist()]
        image = through_autoencoder(batch["image"], encoder, generators)
        return {"image": (image * 255).round().byte(), "entities": batch["entities"].byte()}

    with accelerator.main_process_first():
        facts = scenes.pictures.facts() | encoder.facts() | {"precision": accelerator.mixed_precision}
        claim(folder, facts | {"scenes": "EntityScenes"})
    encode_parts(scenes, decode, folder, batch_size, workers, accelerator.process_index, accelerator.num_processes)
    accelerator.wait_for_everyone()
    return Pool(folder, len(scenes))


class HalfDecoded(Dataset):
    """Fresh scenes and, at every odd place, one of a decoded pool, flipped half of the time and in another light.

    Both are gone through whole before anything comes again.
    """

    def __init__(self, scenes: EntityScenes, pool: Pool | list[dict[str, Tensor]]):
        self.scenes, self.pool = scenes, pool
        self.order = Order([np.arange(len(pool))], 1, scenes.pictures.seed)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        turn, decoded = divmod(index, 2)
        if not decoded:
            return self.scenes[turn] | {"number": torch.tensor(index)}
        rng = np.random.default_rng((self.scenes.pictures.seed, index))
        sample = self.pool[self.order.at(0, turn)]
        image, entities = sample["image"].float() / 255, sample["entities"].long()
        if rng.random() < 0.5:
            image, entities = image.flip(-1), entities.flip(-1)
        gain = torch.from_numpy(rng.uniform(0.85, 1.15, (3, 1, 1))).float()
        image = (image * gain + rng.uniform(-0.06, 0.06)).clamp(0, 1)
        return {"image": image, "entities": entities, "number": torch.tensor(index)}
