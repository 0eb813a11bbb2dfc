"""What an object does to the picture around it: shadows, reflection and the bleeding of its colour.

A simple model of light, in linear intensities.  A surface sends back the light that reaches it, which comes from a
lamp or the sun and from the whole sky.  The object

- hides part of the sky from what lies near it (the contact shadow): light x (1 - share x occlusion);
- hides the lamp from where its shadow falls, where the sky's light alone is left, which is bluer;
- is mirrored in a glossy ground: light x (1 - r) + r x the mirrored object, weaker and blurrer with its distance;
- sends its own colour on to what lies near it (bleeding): light + share x colour x occlusion.

Two views: an object that stands on its lowest row, and one that lies flat and is seen from above.  With ``--effects``
the training pictures of both methods show things so, and an eraser learns what to expect around a hole.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from eradiff_core.synthesis import Cast
from inpainting_core.shapes import Float

Plane = Float[np.ndarray, "h w"]
Picture = Float[np.ndarray, "h w 3"]
VISIBLE = 4 / 255  # a change of a channel: what is fainter is left away
COVERED = 0.5  # of the masks take in what their things cast, as one that was grown to the effects does
GAMMA = 2.2  # of a display; near enough to sRGB's curve
STEPS = 8  # layers of an object's height, seen from above
CONTACT_ROWS = 0.12  # of a standing object's height: how much of it is near the ground


@dataclass(frozen=True)
class Effects:
    """What an object does in one scene; lengths are shares of the longer side of the object's box.

    ``contact``: share of the light that is hidden where the object touches, and how far it reaches.  ``lamp``: share
    of each channel's light that the lamp gives, 0 without a cast shadow.  ``towards``: where the shadow of a point of
    height 1 falls, to the right and down.  ``penumbra``: blur of that shadow at height 1.  ``mirror``: share of the
    light that is mirrored.  ``bleeding``: share of the object's light that is sent on.
    """

    standing: bool
    contact: float
    reach: float
    lamp: tuple[float, float, float]
    towards: tuple[float, float]
    penumbra: float
    mirror: float
    bleeding: float


def random_effects(rng: np.random.Generator) -> Effects:
    """One scene's: most have a contact shadow, half a cast one, few standing ones a reflection."""
    standing = bool(rng.random() < 0.55)
    lamp, sky = rng.uniform(0.15, 0.8) * (rng.random() < 0.55), rng.uniform(0, 0.1)
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.3) if standing else rng.uniform(0.03, 0.4)
    right, down = length * np.cos(angle), length * np.sin(angle) * (0.5 if standing else 1.0)
    if standing:
        down = np.copysign(max(abs(down), 0.1), down)
    return Effects(
        standing=standing,
        contact=rng.uniform(0.15, 0.8) * (rng.random() < 0.9),
        reach=float(np.exp(rng.uniform(np.log(0.06), np.log(0.4)))),
        lamp=(lamp * (1 + sky) / (1 + sky * lamp), lamp, lamp * (1 - sky)),
        towards=(float(right), float(down)),
        penumbra=rng.uniform(0.01, 0.12),
        mirror=rng.uniform(0.1, 0.6) * (standing and rng.random() < 0.35),
        bleeding=rng.uniform(0.05, 0.3) * (rng.random() < 0.4),
    )


def with_effects(background: Picture, colours: Picture, alpha: Plane, effects: Effects) -> Picture:
    """The background as it looks around the object, which is not in it yet; pictures in [0, 1] as they are shown."""
    light, own = background**GAMMA, colours**GAMMA
    rows, columns = ((alpha > 0.5).any(axis).nonzero()[0] for axis in (1, 0))
    base, size = int(rows[-1]), max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    hidden = occlusion(alpha, base, rows[-1] - rows[0] + 1, effects.reach * size, effects.standing)
    cast = cast_shadow(alpha, base, size, effects) if effects.lamp[0] else np.zeros_like(alpha)
    lit = light * (1 - effects.contact * hidden[..., None]) * (1 - np.asarray(effects.lamp) * cast[..., None])
    if effects.mirror:
        mirrored, share = reflection(own, alpha, base, size)
        lit += effects.mirror * share[..., None] * (mirrored - lit)
    mean = (own * alpha[..., None]).sum((0, 1)) / alpha.sum()
    lit += effects.bleeding * hidden[..., None] * mean * light
    return lit.clip(0, 1) ** (1 / GAMMA)


def visible_change(background: Picture, colours: Picture, alpha: Plane, effects: Effects) -> Picture:
    """What ``with_effects`` adds to the background, in [-1, 1]: less by VISIBLE, so that it ends without an edge.

    Exactly 0 where no more than that is seen, and everywhere without an object (an alpha that nowhere reaches 1/2).
    """
    if alpha.max() <= 0.5:
        return np.zeros_like(background)
    change = with_effects(background, colours, alpha, effects) - background
    return (np.sign(change) * np.maximum(np.abs(change) - VISIBLE, 0)).astype(background.dtype)


def casting(rng: np.random.Generator) -> Cast:
    """What objects do to the pictures around them in the light of one scene."""
    effects = random_effects(rng)

    def cast(picture: Tensor, copy: Tensor) -> Tensor:
        background, colours = (one.permute(1, 2, 0).numpy() for one in (picture, copy[:3] / copy[3:].clamp_min(1e-3)))
        change = visible_change(background, colours.clip(0, 1), copy[3].numpy(), effects)
        return picture + torch.from_numpy(change).permute(2, 0, 1)

    return cast


def occlusion(alpha: Plane, base: int, height: int, reach: float, standing: bool) -> Plane:
    """How much of the sky the object hides from each place, about 1 where it touches; far ones in a long, weak tail."""
    footprint = alpha
    if standing:  # the ground begins at its lowest rows; what is behind its upper part is far away
        rows = np.arange(len(alpha))[:, None]
        near = np.exp(-np.abs(rows - base) / (CONTACT_ROWS * height))
        footprint = alpha * near
    near, far = (blurred(footprint, sigma) for sigma in (0.5 * reach, 1.5 * reach))
    hidden = 0.6 * near + 0.4 * far
    return hidden / max(float(hidden.max()), 1e-6)


def cast_shadow(alpha: Plane, base: int, size: float, effects: Effects) -> Plane:
    """How much of the lamp the object hides from each place, 0 to 1; the shadow is softer the farther it falls."""
    right, down = effects.towards
    sharp, soft = (effects.penumbra * size * share for share in (0.15, 0.7))
    if not effects.standing:
        moved = [
            ndimage.shift(alpha, (down * size * step / STEPS, right * size * step / STEPS), order=1)
            for step in range(1, STEPS + 1)
        ]
        return ndimage.gaussian_filter(np.max(moved, 0), soft)
    # the shadow at (y, x) is of the point of height z = (y - base) / down, so of row base - z and column x - right z
    matrix = np.array([[-1 / down, 0], [-right / down, 1]])
    offset = np.array([base + base / down, right * base / down])
    fallen = ndimage.affine_transform(alpha, matrix, offset, order=1)
    height = np.clip((np.arange(len(alpha)) - base) / down / size, 0, 1)[:, None]
    near, far = (ndimage.gaussian_filter(fallen, sigma) for sigma in (sharp, soft))
    return near + height * (far - near)


def reflection(own: Picture, alpha: Plane, base: int, size: float) -> tuple[Picture, Plane]:
    """The object upside down below its lowest row, and how much of it is seen: less with its distance."""
    rows = np.arange(len(alpha))
    source = np.clip(2 * base - rows, 0, len(alpha) - 1)
    below = rows > base
    share = alpha[source] * (below * np.exp(-2 * (rows - base) / size))[:, None]
    rough = 0.01 * size
    mirrored = ndimage.gaussian_filter(own[source], (2 * rough, rough, 0))
    return mirrored, ndimage.gaussian_filter(share, rough)


def blurred(plane: Plane, sigma: float) -> Plane:
    """A Gaussian blur, a wide one on a coarser grid."""
    step = max(1, int(sigma / 4))
    coarse = ndimage.zoom(plane, 1 / step, order=1, grid_mode=True, mode="nearest") if step > 1 else plane
    soft = ndimage.gaussian_filter(coarse, sigma / step, mode="nearest", truncate=3)
    if step == 1:
        return soft
    factors = [whole / part for whole, part in zip(plane.shape, soft.shape, strict=True)]
    return ndimage.zoom(soft, factors, order=1, grid_mode=True, mode="nearest")
