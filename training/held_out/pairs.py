"""How EraDiff's path does on pasted objects it has never seen: is the truth found, and is the object gone?"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from eradiff_core.attention import HARD, Softness, rectifier
from eradiff_core.sampler import ddim, path
from inpainting_core.engine import DiffusersEngine
from inpainting_core.latents import masked_picture
from inpainting_core.protocol import Inputs
from inpainting_core.shapes import Float
from training.data.encoding import Encoded
from training.held_out.few_steps import hole_psnr
from training.held_out.parts import in_parts

LOOKS = ("rectified", "off")  # modes of SRA: as the erasers have it, and as the paper trains


def erase_pairs(
    engine: DiffusersEngine,
    encoded: Encoded,
    steps: int,
    strength: float,
    attention: str,
    seed: int,
    softness: Softness = HARD,
) -> Float[Tensor, "b 3 h w"]:
    """Pictures erased along the path that starts at the noised picture with its object, RGB in [0, 1]."""
    noise = torch.randn(encoded["object"].shape, generator=torch.Generator().manual_seed(seed))

    def erased(part: Encoded) -> dict[str, Tensor]:
        rectified = rectifier(part["mask"], attention, softness)
        inputs = Inputs(part["object"], part["mask"], part["masked"], rectified)
        return {"image": engine.decode(engine.sample(ddim, path(steps, strength), part["noise"], inputs))}

    return in_parts(erased, encoded | {"noise": noise})["image"]


def object_left(fill: Tensor, original: Tensor, with_object: Tensor) -> Float[Tensor, "b"]:
    """How much of the object is still there: the fill's error projected onto the object's own signal.

    1 is the untouched object, 0 none of it; below 0 its negative.  Pictures are RGB in [0, 1]; the signal lies where
    the two pictures differ.
    """
    signal = (with_object - original).flatten(1)
    return ((fill - original).flatten(1) * signal).sum(1) / signal.square().sum(1)


def psnr_name(look: str, strength: float = 1.0) -> str:
    """What ``look_along_path`` calls the PSNR of a look's fills from this strength."""
    return f"hole_psnr_{_of(look, strength)}"


def _of(look: str, strength: float) -> str:
    return str(strength) if look == LOOKS[0] else f"{strength}_{look}"


def look_along_path(
    engine: DiffusersEngine, pictures: dict[str, Tensor], encoded: Encoded, looks: Sequence[str] = LOOKS
) -> tuple[list[Tensor], dict[str, float]]:
    """A sheet's rows (object, hole, each look from strength 0.6 and 1.0, truth) and the held-out numbers, 12 steps.

    ``looks`` are modes of SRA; a number carries that of its own unless it is ``rectified``.
    """
    original, with_object, mask = (pictures[key] for key in ("original", "with_object", "mask"))
    rows, numbers = [with_object, masked_picture(original, mask)], {}
    for attention, strength in product(looks, (0.6, 1.0)):
        fill = erase_pairs(engine, encoded, 12, strength, attention, seed=0)
        rows.append(original * (1 - mask) + fill * mask)
        numbers[psnr_name(attention, strength)] = hole_psnr(fill, original, mask).mean().item()
        numbers[f"object_left_{_of(attention, strength)}"] = object_left(fill, original, with_object).mean().item()
    return [*rows, original], numbers
