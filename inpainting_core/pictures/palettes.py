"""A fill in a picture of few colours: the nearest of the palette, and its own where the palette has room.

A pixel keeps its alpha, so it may only take a colour that is as opaque as its own was.
"""

import numpy as np
from PIL import Image
from scipy.spatial import KDTree

SLOTS = 256
OPAQUE = 255


def lay_into_palette(
    rgb: np.ndarray, old: np.ndarray, kept: np.ndarray, palette: np.ndarray, listed: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Indices for the colours, the palette with what was added, and how many of its entries are in use.

    rgb: ``[n, 3]`` in [0, 1].  old: the indices that stood there, ``[n]``.  kept: the indices in use elsewhere, whose
    colours stay.  palette: RGBA of each index, ``[256, 4]``, of which the file lists the first ``listed``.
    """
    colours, palette = (rgb * 255).round().astype(np.uint8), palette.copy()
    opacity, indices = palette[old, 3], old.copy()
    solid = opacity == OPAQUE
    free = np.setdiff1d(np.arange(SLOTS), np.concatenate([kept, np.flatnonzero(palette[:, 3] < OPAQUE), old[~solid]]))
    if solid.any() and len(free):
        free = np.concatenate([free[free >= listed], free[free < listed]])  # what is listed goes last
        own = few_colours(colours[solid], palette[kept, :3], len(free))
        palette[free[: len(own)], :3] = own
        kept = np.concatenate([kept, free[: len(own)]])
        listed = max(listed, int(kept.max()) + 1)
    for level in np.unique(opacity):
        of_level = np.concatenate([kept, old[opacity == level]]) if level < OPAQUE else kept
        usable = np.unique(of_level[palette[of_level, 3] == level])
        nearest = KDTree(palette[usable, :3].astype(float)).query(colours[opacity == level].astype(float))[1]
        indices[opacity == level] = usable[nearest]
    return indices, palette, listed


def few_colours(colours: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` colours that stand for those of ``[n, 3]`` which are not among the known ones."""
    distinct = np.unique(colours, axis=0)
    new = distinct[~(distinct[:, None] == known[None]).all(-1).any(1)] if len(distinct) <= SLOTS else distinct
    if len(new) <= count:
        return new
    picture = Image.fromarray(colours[None]).quantize(count, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return np.array(picture.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)[:count]
