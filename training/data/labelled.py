"""Pictures with what is known of the entities in them: from a folder, or from shards where it ends in .tar.

    NAME.jpg             the picture
    NAME_entities.png    ids of its entities, one channel of 8 or 16 bits, 0 = nothing; left out: nothing is known
    NAME_entities.json   [{"id": 1, "score": 0.97, "thing": 0.88}, ...]; left out: every entity is a thing

Both kinds of source answer ``draw(rng, index)``: the picture of sample ``index``, a pure function of both.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from training.data.pictures import list_pictures, random_view, read_rgb

MAP_ENDING = "_entities"
THING_SCORE = 100 / 255  # YOEO: what is rather stuff (sky, grass) is no object to erase


@dataclass(frozen=True)
class Labelled:
    """A picture, the ids of its entities (None: unknown) and which of these are stuff."""

    picture: Image.Image
    ids: Image.Image | None = None
    stuff: frozenset[int] = frozenset()

    def view(self, size: int, rng: np.random.Generator) -> tuple[Image.Image, np.ndarray | None]:
        """A random square of the picture and the same one of its map, ``[size, size]`` int, stuff as 0."""
        if self.ids is None:
            return random_view(self.picture, size, rng), None
        seed = rng.integers(2**32)
        view = random_view(self.picture, size, np.random.default_rng(seed))
        ids = random_view(self.ids, size, np.random.default_rng(seed), False, Image.Resampling.NEAREST)
        ids = np.array(ids).astype(np.int64)
        return view, np.where(np.isin(ids, list(self.stuff)), 0, ids)


def labelled(name: str, picture: Image.Image, ids: Image.Image, facts: list[dict]) -> Labelled:
    """The parts put together.  Raises ValueError for a map that is not the picture's or is no map of ids."""
    if ids.size != picture.size or ids.mode not in ("L", "P", "I", "I;16"):
        raise ValueError(
            f"an entity map must have one channel of ids and its picture's size {picture.size}, "
            f"got {name} with mode {ids.mode} and size {ids.size}."
        )
    return Labelled(picture, ids, frozenset(fact["id"] for fact in facts if fact["thing"] < THING_SCORE))


class LabelledFolder:
    """All pictures below a folder; pictures are kept in memory for the next time."""

    def __init__(self, folder: str | Path):
        self.paths = list_pictures(folder)

    def draw(self, rng: np.random.Generator, index: int) -> Labelled:
        """Any picture, whatever the index."""
        path = self.paths[rng.integers(len(self.paths))]
        map_path = path.with_name(f"{path.stem}{MAP_ENDING}.png")
        if not map_path.exists():
            return Labelled(read_rgb(path))
        with Image.open(map_path) as stored:
            ids = stored.copy()
        facts = map_path.with_suffix(".json")
        return labelled(map_path.name, read_rgb(path), ids, json.loads(facts.read_text()) if facts.exists() else [])
