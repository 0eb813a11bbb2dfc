"""Real things, as entity maps tell them apart: seen from near by, or cut out and put into another picture.

Maps of a few hundred photographs teach a detector little from whole views, where most things are small.  A view around
one thing, as wide as a box that somebody draws around it, is what a detector is asked about one by one.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from training.data.labelled import Labelled, read_labelled
from training.data.stream import Source, Stream

VIEW = (1.25, 2.0)  # of a thing's longer side: what Snap looks at is 1.5 times as wide, from a box a fifth too large
OFF = 0.15  # of the room beside a thing: so far it lies off the middle
SMALLEST = 40  # px of a thing's longer side: less of it teaches nothing when it is enlarged
MOST_PICTURES = 20  # in a row without a thing of that size: then the maps are the wrong ones
LENGTHS = (0.15, 0.9)  # of a scene's side: a pasted thing's longer side


class RealThings:
    """The things of a source's pictures with maps; what stands at a place is a pure function of the seed and ``rng``.

    ``in_a_light`` shows a picture in another light.  Raises ValueError where no picture has a map.
    """

    def __init__(self, source: Source, size: int, seed: int, in_a_light: Callable[..., Image.Image]):
        mapped = np.flatnonzero(source.mapped)
        if not len(mapped):
            raise ValueError("real things come from pictures with entity maps, got none: prepare_entities makes them.")
        self.stream, self.size = Stream(source, mapped, [(size, size)], 1, seed), size
        self.in_a_light = in_a_light

    def near(self, index: int, rng: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
        """A view around one thing, and the ids of all that is in it, ``[size, size]`` int."""
        labelled, thing = self.one(index, rng)
        box = window_around(thing, rng)
        views = [
            each.resize((self.size, self.size), how, box=box)
            for each, how in ((labelled.picture, Image.Resampling.LANCZOS), (labelled.ids, Image.Resampling.NEAREST))
        ]
        if rng.random() < 0.5:
            views = [view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for view in views]
        return self.in_a_light(views[0], rng), np.array(views[1]).astype(np.int64)

    def cut_out(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One thing somewhere in a scene: colours ``[size, size, 3]`` in 0..255 and alpha ``[size, size]``."""
        labelled, thing = self.one(index, rng)
        rows, columns = ndimage.find_objects(thing.astype(np.uint8))[0]
        box = (columns.start, rows.start, columns.stop, rows.stop)
        scale = rng.uniform(*LENGTHS) * self.size / max(box[2] - box[0], box[3] - box[1])
        shape = [max(2, round(side * scale)) for side in (box[2] - box[0], box[3] - box[1])]
        picture = self.in_a_light(labelled.picture.resize(shape, Image.Resampling.LANCZOS, box=box), rng)
        alpha = Image.fromarray(thing.astype(np.uint8) * 255).resize(shape, Image.Resampling.BOX, box=box)
        if rng.random() < 0.5:
            picture, alpha = (each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in (picture, alpha))
        corner = tuple(int(rng.uniform(-0.25, 1.25) * room) if room > 0 else room // 2 for room in self.room(shape))
        colours, cover = Image.new("RGB", (self.size, self.size)), Image.new("L", (self.size, self.size))
        colours.paste(picture, corner)
        cover.paste(alpha, corner)
        return np.asarray(colours, dtype=np.float32), np.asarray(cover, dtype=np.float32) / 255

    def room(self, shape: list[int]) -> tuple[int, ...]:
        return tuple(self.size - side for side in shape)

    def one(self, index: int, rng: np.random.Generator) -> tuple[Labelled, np.ndarray]:
        """A picture and one of its things, ``[h, w]`` bool.  Raises ValueError where all are too small."""
        for ahead in range(MOST_PICTURES):
            labelled = self.stream.read(index, read_labelled, ahead)
            ids = np.asarray(labelled.ids).astype(np.int64)
            boxes = [(number, box) for number, box in enumerate(ndimage.find_objects(ids), start=1) if box]
            large = [number for number, box in boxes if max(side.stop - side.start for side in box) >= SMALLEST]
            if large:
                return labelled, ids == rng.choice(large)
        raise ValueError(f"entity maps must show things of {SMALLEST} px, got {MOST_PICTURES} in a row without.")


def window_around(thing: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A square (left, top, right, bottom) about a thing ``[h, w]``, within its picture.

    It is ``VIEW`` times as wide as the thing is long, where the picture allows, and the thing lies near its middle, as
    in a box that is drawn by hand.
    """
    rows, columns = ndimage.find_objects(thing.astype(np.uint8))[0]
    longer = max(rows.stop - rows.start, columns.stop - columns.start)
    side = min(longer * np.exp(rng.uniform(*np.log(VIEW))), *thing.shape)
    corner = []
    for span, whole in ((columns, thing.shape[1]), (rows, thing.shape[0])):
        spare = side - (span.stop - span.start)
        first = span.start - spare * rng.uniform(0.5 - OFF, 0.5 + OFF)
        corner.append(float(np.clip(first, 0, whole - side)))
    return (*corner, corner[0] + side, corner[1] + side)
