"""The hard shadow under an object: a dark patch that begins at its foot, on even ground, found without a network.

Under a car or a cup hardly any light is left, and the shadow's edge is sharp.  What is far darker than the ground
beyond it, at the same stretch of the object's outline, is one if it touches the lower part of the outline, ends well
within reach, and is not of another colour.  Before an uneven background nothing is said: dark things are many there.
"""

import numpy as np
from scipy import ndimage

from inpainting_core.masks import NEIGHBOURS
from inpainting_core.shapes import Bool, Float, Int
from inpainting_core.surroundings import LUMINANCE, REACH, SECTORS, Surroundings

SMOOTHED = 0.01  # of the object's size: what is looked at is a mean within about so far, at least a pixel
FAR = 0.5  # of the reach: from there on is the ground that a stretch is compared with
FEWEST = 20  # pixels of it
DARKER = 0.5  # of brightness: less may be a soft shadow, or another ground
COLOUR = 0.15  # of chromaticity: more is a thing of another colour
BLACK = 0.06  # luminance below which there is no colour to be told
EVEN = 0.8  # of the ground beyond a shadow is nearer to its level than half of what the shadow takes
LOW = 0.65  # of the object's height, from its top: where a shadow touches it, in the mean
TOUCHING = 0.05  # of the object's size: so much of it, in pixels, lies in the first ring; at least 4
LEAST = 0.01  # of the object's area
ENDS = 0.9  # of the reach: hardly any of a shadow lies beyond
BEYOND = 0.02  # that much of it may
SOFT_RIM = 1.5  # rings that are added around it


def hard_shadow_of(here: Surroundings) -> Bool[np.ndarray, "h w"]:
    """Where the object has a hard shadow."""
    far = here.ground & (here.distance > FAR * REACH * here.size)
    if not far.any():
        return far
    seen = smoothed(here, np.dstack([here.brightness, here.chromaticity]))
    brightness, colour = seen[..., 0], seen[..., 1:]
    above = brightness - ndimage.median_filter(level_of(here, far, brightness), 7, mode="wrap")[here.sector]
    dark = here.ground & (above < -DARKER) & ~of_another_colour(here, far, colour)
    labels, _ = ndimage.label(without_threads(here, dark), NEIGHBOURS)
    even = far & (np.abs(above) < DARKER / 2)
    shadows = [patch for patch in near_patches(here, labels) if is_shadow(here, labels == patch, far, even)]
    found = np.isin(labels, shadows)
    if shadows:
        found = ndimage.distance_transform_edt(~found) <= SOFT_RIM * here.width
    return found & here.ground


def smoothed(here: Surroundings, values: Float[np.ndarray, "h w c"]) -> Float[np.ndarray, "h w c"]:
    """A mean around each pixel of what is under no mask."""
    sigma, seen = max(1.0, SMOOTHED * here.size), (~here.hidden).astype(float)[..., None]
    total, share = (ndimage.gaussian_filter(part, (sigma, sigma, 0)) for part in (values * seen, seen))
    return total / np.maximum(share, 1e-6)


def level_of(
    here: Surroundings, far: Bool[np.ndarray, "h w"], values: Float[np.ndarray, "h w"]
) -> Float[np.ndarray, "sectors"]:
    """The median of the ground far out at each stretch; where there is too little, that of the nearest with enough."""
    cells = np.where(far, here.sector + 1, 0)
    pixels = np.bincount(cells.ravel(), minlength=SECTORS + 1)[1:]
    known = np.flatnonzero(pixels >= min(FEWEST, pixels.max()))
    apart = np.abs(np.arange(SECTORS)[:, None] - known)
    nearest = known[np.minimum(apart, SECTORS - apart).argmin(1)]
    return ndimage.median(values, cells, nearest + 1)


def of_another_colour(
    here: Surroundings, far: Bool[np.ndarray, "h w"], colour: Float[np.ndarray, "h w 3"]
) -> Bool[np.ndarray, "h w"]:
    """What has another colour than the ground beyond it; in the dark there is no colour to be told."""
    channels = np.moveaxis(colour, -1, 0)
    differs = sum(np.abs(channel - level_of(here, far, channel)[here.sector]) for channel in channels)
    return (differs > COLOUR) & (here.picture @ LUMINANCE > BLACK)


def without_threads(here: Surroundings, dark: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """What is dark without lines as thin as two pixels, or more where the object is large."""
    return ndimage.binary_opening(dark | here.part, iterations=max(1, int(SMOOTHED * here.size))) & dark


def near_patches(here: Surroundings, labels: Int[np.ndarray, "h w"]) -> Int[np.ndarray, "n"]:
    """The numbers of those patches that touch the object's outline and are no specks."""
    areas = np.bincount(labels.ravel())
    touching = np.bincount(labels[here.distance <= here.width], minlength=len(areas))
    kept = (areas >= LEAST * here.size**2) & (touching >= max(4, TOUCHING * here.size))
    return np.flatnonzero(kept[1:]) + 1


def is_shadow(
    here: Surroundings, one: Bool[np.ndarray, "h w"], far: Bool[np.ndarray, "h w"], even: Bool[np.ndarray, "h w"]
) -> bool:
    """Whether a dark patch begins at the object's foot, ends within reach, and has even ground beyond it."""
    if (one & (here.distance > ENDS * REACH * here.size)).sum() > BEYOND * one.sum():
        return False
    top, bottom = np.flatnonzero(here.part.any(1))[[0, -1]]
    touching = (one & (here.distance <= here.width)).nonzero()[0]
    if touching.mean() < top + LOW * (bottom + 1 - top):
        return False
    beyond = far & np.isin(here.sector, np.unique(here.sector[one]))
    return bool(even[beyond].sum() >= EVEN * max(1, beyond.sum()))
