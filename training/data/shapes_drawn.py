"""Random closed shapes and the things made of them, for folders whose pictures carry no entity maps."""

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from training.data.pictures import smooth_picture

OVERSAMPLING = 4


def closed_outline(rng: np.random.Generator, points: int = 64) -> np.ndarray:
    """A blob, an ellipse or a rounded polygon around the origin, about 1 in radius; ``[points, 2]``."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    kind = rng.random()
    if kind < 0.5:  # a blob: a circle with a few waves on it
        waves = np.arange(1, 7)
        height = rng.normal(0, 0.35, 6) / waves
        radius = 1 + (height * np.cos(angle[:, None] * waves + rng.uniform(0, 2 * np.pi, 6))).sum(1)
    elif kind < 0.7:
        radius = np.ones(points)
    else:  # a polygon: distance to the nearest side, its corners rounded
        corners, turn = rng.integers(3, 8), rng.uniform(0, 2 * np.pi)
        sector = 2 * np.pi / corners
        radius = np.cos(sector / 2) / np.cos((angle + turn) % sector - sector / 2)
        radius = ndimage.gaussian_filter1d(radius, rng.uniform(0.5, 3), mode="wrap")
    outline = np.stack([np.cos(angle), np.sin(angle)], 1) * np.maximum(radius, 0.15)[:, None]
    outline *= np.array([1.0, rng.uniform(0.35, 1.0)])
    turn = rng.uniform(0, 2 * np.pi)
    return outline @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def coverage(outline: np.ndarray, height: int, width: int) -> np.ndarray:
    """How much of each pixel the outline covers, ``[h, w]`` in [0, 1]: an alpha channel with soft edges."""
    canvas = Image.new("L", (width * OVERSAMPLING, height * OVERSAMPLING))
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in outline * OVERSAMPLING], fill=255)
    return np.asarray(canvas.reduce(OVERSAMPLING), dtype=np.float32) / 255


def random_shape(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """One closed shape of 15 to 50% of the picture's side, centred; ``[h, w]`` bool."""
    radius = rng.uniform(0.15, 0.5) * min(height, width) / 2
    return coverage(closed_outline(rng) * radius + (width / 2, height / 2), height, width) > 0.5


def random_thing(other: np.ndarray, height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Something with a border that was not in the picture: colours ``[h, w, 3]`` in 0..255 and alpha ``[h, w]``.

    ``other`` is a view of another picture, ``[h, w, 3]``; the thing is cut from it or filled with a plain surface.
    """
    side = min(height, width)
    centre = rng.uniform(0.1, 0.9, 2) * (width, height)
    radius = rng.uniform(0.1, 0.55) * side / 2
    alpha = np.zeros((height, width), dtype=np.float32)
    for _ in range(rng.choice([1, 1, 2, 3])):  # some things have several limbs
        outline = closed_outline(rng) * radius * rng.uniform(0.5, 1.0) + centre + rng.normal(0, 0.4, 2) * radius
        alpha = np.maximum(alpha, coverage(outline, height, width))
    alpha = ndimage.gaussian_filter(alpha, rng.uniform(0.2, 0.8))

    if rng.random() < 0.6:
        colours = (other - other.mean((0, 1))) * rng.uniform(0.6, 1.3) + rng.uniform(30, 225, 3)
    else:
        colours = np.asarray(smooth_picture((side, side), rng).resize((width, height)), dtype=np.float32)
    return (colours + shading(alpha, rng)[..., None]).clip(0, 255), alpha


def shading(alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light from one side on a rounded surface, ``[h, w]`` in grey levels; often none at all."""
    if rng.random() < 0.4:
        return np.zeros_like(alpha)
    bulge = ndimage.gaussian_filter(alpha, rng.uniform(0.02, 0.08) * min(alpha.shape))
    dy, dx = np.gradient(bulge)
    light = rng.uniform(0, 2 * np.pi)
    slope = dx * np.cos(light) + dy * np.sin(light)
    return rng.uniform(20, 70) * slope / (np.abs(slope).max() + 1e-6)
