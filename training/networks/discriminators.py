"""The discriminator that stage 2 leaves and stage 3 goes on from, in our file or in the authors' ``model_1.bin``."""

import re
from pathlib import Path

import torch

from inpainting_core.architecture import UNetShape
from inpainting_core.buckets import Shape
from inpainting_core.diffusers_folder import VAE_FACTOR
from inpainting_core.state_dicts import fitting, read_state_dict, tell_left_out
from yoeo_core.discriminator import Discriminator

OURS, THEIRS = "discriminator.safetensors", "model_1.bin"

# A layer's number in the head and its part, whatever module the head lies in.
LAYER = re.compile(r"(?:.*\.)?(\d+\.(?:weight|bias))")


def check_views(shapes: list[Shape], unet: UNetShape) -> None:
    """Raise ValueError where a view of these heights and widths leaves the discriminator less than 2 x 2 features."""
    halved = 2 ** (len(unet.channels) - 1)  # from the latent to the middle, rounded up
    least, smallest = VAE_FACTOR * (halved + 1), min(shapes, key=min)
    if min(smallest) < least:
        rule = f"the discriminator must see views of at least {least} px a side"
        got = f"{smallest[0]} x {smallest[1]} among those of this --resolution"
        raise ValueError(f"{rule}, got {got}: give a larger one, or --squares.")


def discriminator_beside(student: str | Path) -> Path:
    """Where a student's discriminator lies.  Raises FileNotFoundError where there is none."""
    for name in (OURS, THEIRS):
        if (found := Path(student).with_name(name)).is_file():
            return found
    rule = f"the discriminator must lie beside the student as {OURS} or {THEIRS}"
    raise FileNotFoundError(f"{rule}, got neither beside {student}: name its file with --discriminator.")


def read_discriminator(path: str | Path, channels_in: int) -> Discriminator:
    """A discriminator for features of so many channels, from any file that ``read_state_dict`` reads.

    Raises ValueError with the first weight that is missing or does not fit, besides what ``read_state_dict`` raises.
    """
    path = Path(path)
    tensors, _ = read_state_dict(path)
    layers = {f"head.{found[1]}": key for key in tensors if (found := LAYER.fullmatch(key))}
    discriminator = Discriminator(channels_in)
    expected = {key: tuple(value.shape) for key, value in discriminator.state_dict().items()}
    weights = fitting({ours: tensors[key] for ours, key in layers.items()}, expected, path.name)
    tell_left_out([key for key in tensors if key not in {layers[ours] for ours in expected}], path.name)
    discriminator.load_state_dict({key: value.to(torch.float32) for key, value in weights.items()})
    return discriminator
