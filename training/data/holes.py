"""Holes to train on: strokes and boxes as LaMa draws them, holes shaped like things, and things themselves.

Lengths are the published ones at 512 px and shrink with the picture.  A hole is built from
parts (one stroke, box or shape each) so that a part can be taken back: YOEO's paired set D1
must never contain a whole entity under its hole, or the network would learn to draw one.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

MAX_COVERED = 0.8  # D1: no entity may be covered more than this
MAX_HOLE = 0.64  # D2: of the picture's area, 0.8 squared
MOST_TRIED = 10  # D2: entities looked at in one picture
MOST_DRAWN = 20  # D1 and ordinary holes: tries before a view is given up, whose entities leave no room between them
SMALLEST_ENTITY = 0.006  # of the picture's area: YOEO's sqrt(area) >= 20/255
SQUARE = np.ones((3, 3), dtype=bool)


def strokes(height: int, width: int, rng: np.random.Generator) -> list[np.ndarray]:
    """1 to 10 polylines of 1 to 5 thick segments; ``[h, w]`` bool each."""
    scale = min(height, width) / 512
    parts = []
    for _ in range(rng.integers(1, 11)):
        canvas = Image.new("1", (width, height))
        draw = ImageDraw.Draw(canvas)
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        for segment in range(rng.integers(1, 6)):
            angle = rng.integers(4) + 0.01
            angle = 2 * np.pi - angle if segment % 2 == 0 else angle
            length, brush = rng.uniform(10, 70) * scale, max(2.0, rng.uniform(5, 105) * scale)
            end = (x + length * np.sin(angle), y + length * np.cos(angle))
            draw.line([(x, y), end], fill=1, width=round(brush))
            for cx, cy in ((x, y), end):
                draw.ellipse([cx - brush / 2, cy - brush / 2, cx + brush / 2, cy + brush / 2], fill=1)
            x, y = np.clip(end[0], 0, width), np.clip(end[1], 0, height)
        parts.append(np.array(canvas))
    return parts


def boxes(height: int, width: int, rng: np.random.Generator) -> list[np.ndarray]:
    """1 to 3 boxes of 50 to 200 px a side, 10 px away from the border; ``[h, w]`` bool each."""
    scale = min(height, width) / 512
    margin, parts = round(10 * scale), []
    for _ in range(rng.integers(1, 4)):
        bh, bw = np.maximum(1, np.rint(rng.uniform(50, 200, 2) * scale)).astype(int)
        top = rng.integers(margin, max(margin + 1, height - margin - bh))
        left = rng.integers(margin, max(margin + 1, width - margin - bw))
        part = np.zeros((height, width), dtype=bool)
        part[top : top + bh, left : left + bw] = True
        parts.append(part)
    return parts


def lama_parts(height: int, width: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Strokes half of the time, boxes the other half."""
    return (strokes if rng.random() < 0.5 else boxes)(height, width, rng)


def entity_parts(shapes: list[np.ndarray], height: int, width: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Shapes rescaled by U(0.7, 1.3), dilated and dropped anywhere until they fill U(0.02, 0.5) of the picture.

    ``shapes`` are bool arrays of any size; each may be used more than once.
    """
    wanted, covered = rng.uniform(0.02, 0.5) * height * width, np.zeros((height, width), dtype=bool)
    parts: list[np.ndarray] = []
    while covered.sum() < wanted and len(parts) < 20:
        part = _drop(shapes[rng.integers(len(shapes))], height, width, rng)
        parts.append(part)
        covered |= part
    return parts


def _drop(shape: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """One shape at a random scale and place; it may hang over the border by 10 px of 512."""
    scale = min(height, width) / 512
    rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
    shape = shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    factor = rng.uniform(0.7, 1.3)
    sh = int(np.clip(round(shape.shape[0] * factor), 1, height))
    sw = int(np.clip(round(shape.shape[1] * factor), 1, width))
    shape = np.array(Image.fromarray(shape).resize((sw, sh), Image.Resampling.NEAREST))

    over = round(10 * scale)
    top = rng.integers(-over, height - sh + over + 1)
    left = rng.integers(-over, width - sw + over + 1)
    part = np.zeros((height + 2 * over, width + 2 * over), dtype=bool)
    part[top + over : top + over + sh, left + over : left + over + sw] = shape
    part = part[over : over + height, over : over + width]
    return dilate(part, round(rng.integers(0, 6) * scale))


def dilate(mask: np.ndarray, iterations: int) -> np.ndarray:
    """Grow by so many 3 x 3 steps; 0 leaves it as it is."""
    return ndimage.binary_dilation(mask, SQUARE, iterations) if iterations else mask


def covered_share(hole: np.ndarray, entities: np.ndarray) -> dict[int, float]:
    """How much of each entity (ids from 1 in ``[h, w]``) lies under the hole."""
    return {int(e): float(hole[entities == e].mean()) for e in np.unique(entities) if e != 0}


def spare_entities(parts: list[np.ndarray], entities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The union of the parts, minus as many of them on each entity as it takes to leave a fifth of it visible.

    Half of the time what is given back is eroded a little, so that the hole's edge does not trace the entity.
    """
    hole = np.any(parts, axis=0)
    scale = min(hole.shape) / 512
    for entity, share in covered_share(hole, entities).items():
        if share <= MAX_COVERED:
            continue
        inside, back = entities == entity, np.zeros_like(hole)
        shrink = max(1, round(2 * scale)) if rng.random() < 0.5 else 0
        for index in rng.permutation(len(parts)):
            back |= parts[index] & inside
            given = ndimage.binary_erosion(back, SQUARE, shrink) if shrink else back
            if hole[inside].sum() - given[inside & hole].sum() <= MAX_COVERED * inside.sum():
                break
        else:
            given = back  # thinner than the erosion: give all of it back
        hole &= ~given
    thin = max(1, round(3 * scale))  # lines that are left over between the parts given back
    return hole & dilate(ndimage.binary_erosion(hole, SQUARE, thin), thin + 1)


def d1_hole(entities: np.ndarray, shapes: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """YOEO's paired set: 25% strokes or boxes, 25% merged with entity shapes, 50% entity shapes; no whole entity.

    ``entities`` ``[h, w]`` ids, 0 = none; ``shapes`` bool arrays of any size, without any there are only strokes and
    boxes.  Returns ``[h, w]`` bool; empty where the entities leave no room.
    """
    for _ in range(MOST_DRAWN):
        kind, parts = rng.random() if shapes else 0.0, []
        if kind < 0.5:
            parts += lama_parts(*entities.shape, rng)
        if kind >= 0.25:
            parts += entity_parts(shapes, *entities.shape, rng)
        hole = spare_entities(parts, entities, rng)
        if hole.any() and not hole.all():
            return hole
    return np.zeros(entities.shape, dtype=bool)


def any_hole(entities: np.ndarray, shapes: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Ordinary inpainting, as SD-Inpaint saw it: in 60% of the pictures with entities these lie under their own shape.

    Such a base draws objects into object-shaped holes: the failure that both methods cure.  Empty where nothing fits.
    """
    ids = np.setdiff1d(np.unique(entities), 0)
    for _ in range(MOST_DRAWN):
        if len(ids) and rng.random() < 0.6:
            chosen = rng.choice(ids, size=rng.integers(1, len(ids) + 1), replace=False)
            steps = max(1, round(rng.integers(3, 9) * min(entities.shape) / 512))
            hole = dilate(np.isin(entities, chosen), steps)
        elif not shapes or rng.random() < 0.5:
            hole = np.any(lama_parts(*entities.shape, rng), axis=0)
        else:
            hole = np.any(entity_parts(shapes, *entities.shape, rng), axis=0)
        if hole.any() and not hole.all():
            return hole
    return np.zeros(entities.shape, dtype=bool)


def d2_hole(entities: np.ndarray, shapes: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """YOEO's unpaired set: 1 to 5 entities of the picture, each grown by 3 to 8 px of 512; at most 64% of the picture.

    At most ten are tried, in an order that is drawn: the authors take them by their ids, which their labels number at
    random, but annotations number by falling area.  ``[h, w]`` bool; empty where no entity is large enough (0.6% of the
    picture) or none fits.
    """
    hole, wanted = np.zeros(entities.shape, dtype=bool), rng.integers(1, 6)
    for entity in rng.permutation(large_entities(entities))[:MOST_TRIED]:
        steps = max(1, round(rng.integers(3, 9) * min(entities.shape) / 512))
        larger = hole | dilate(entities == entity, steps)
        if larger.mean() <= MAX_HOLE:
            hole, wanted = larger, wanted - 1
        if wanted == 0:
            break
    return hole


def large_entities(entities: np.ndarray) -> list[int]:
    """The ids, ascending, of the entities that cover at least 0.6% of the picture."""
    ids, areas = np.unique(entities, return_counts=True)
    return [int(e) for e, area in zip(ids, areas, strict=True) if e != 0 and area >= SMALLEST_ENTITY * entities.size]


HOLES: dict[str, Callable[[np.ndarray, list[np.ndarray], np.random.Generator], np.ndarray]] = {
    "d1": d1_hole,
    "d2": d2_hole,
    "any": any_hole,
}
