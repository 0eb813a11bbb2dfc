"""What is known of the entities in a picture: a map of their ids, and which of them are things."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from inpainting_core.buckets import Shape
from training.data.pictures import random_view
from training.data.reading import BROKEN, Unusable, Upright, open_picture, read_upright
from training.data.sources import Files

THING_SCORE = 100 / 255  # YOEO: what is rather stuff (sky, grass) is no object to erase


@dataclass(frozen=True, eq=False)
class Labelled:
    """A picture and the ids of its things ``[h, w]`` int, 0 = nothing or stuff; None: unknown."""

    picture: Image.Image
    ids: Image.Image | None = None

    def view(self, shape: Shape, rng: np.random.Generator) -> tuple[Image.Image, np.ndarray | None]:
        """A random window of the picture and the same one of its map, of this height and width."""
        if self.ids is None:
            return random_view(self.picture, shape, rng), None
        seed = rng.integers(2**32)
        view = random_view(self.picture, shape, np.random.default_rng(seed))
        return view, view_of_ids(self.ids, shape, np.random.default_rng(seed))


def view_of_ids(ids: Image.Image, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """A random window of a map, ``[h, w]`` int."""
    return np.array(random_view(ids, shape, rng, Image.Resampling.NEAREST)).astype(np.int64)


def read_labelled(files: Files) -> Labelled:
    """A picture with its map at one size.  Raises Unusable where either cannot be read or they do not go together."""
    read = read_upright(files.picture)
    if files.entities is None:
        return Labelled(read.picture)
    return Labelled(read.picture, things_of(files, read).resize(read.picture.size, Image.Resampling.NEAREST))


def read_ids(files: Files) -> Image.Image | None:
    """A picture's map alone, as it is stored; None for a picture without.  Raises Unusable for one that is none."""
    return None if files.entities is None else things_of(files, None)


def things_of(files: Files, read: Upright | None) -> Image.Image:
    """The map without what is stuff, turned along with its picture where that was read."""
    try:
        with open_picture(files.entities) as stored:
            ids = stored.copy()
        stuff = [fact["id"] for fact in json.loads(text_of(files.facts)) if fact["thing"] < THING_SCORE]
    except BROKEN as error:
        raise Unusable(f"its entity map is unreadable: {error}") from error
    if ids.mode not in ("L", "P", "I", "I;16"):
        raise Unusable(f"its entity map must have one channel of ids, got mode {ids.mode}")
    if read is not None:
        if ids.size not in (read.stored, read.whole):
            raise Unusable(f"its entity map must have its picture's size {read.stored}, got {ids.size}")
        ids = read.along(ids, "entity map")
    values = np.asarray(ids)
    return Image.fromarray(np.where(np.isin(values, stuff), 0, values))


def text_of(facts: object) -> str:
    if facts is None:
        return "[]"
    return facts.read_text(encoding="utf-8") if isinstance(facts, Path) else facts.getvalue().decode()
