"""Pictures with and without copies of their own object: what EraDiff trains on.

The object is known by its matte (``training.prepare_mattes`` writes them), or drawn into the picture first
where there is no matting model to ask.  Sample number ``i`` is a pure function of (seed, i).
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from eradiff_core.synthesis import NoRoom, Ranges, cut_out, synthesise
from training.data.mattes import list_with_mattes, name_refused, read_picture_and_matte
from training.data.pictures import jitter_colour, list_pictures, random_view, read_rgb, smooth_picture, to_tensor
from training.data.randomness import sample_generator
from training.data.reading import open_picture
from training.data.shapes_drawn import random_thing

Scene = tuple[Tensor, Tensor, Tensor]  # picture [3, s, s], what its object covers [1, s, s], the object [4, h, w]
SMOOTH_EVERY = 10  # one drawn picture in so many is a plain surface


class Pairs(Dataset):
    """Items: ``original`` and ``with_object`` RGB in [0, 1] ``[3, s, s]``, ``mask`` ``[1, s, s]``, ``number`` alone."""

    def __init__(self, scene: Callable[[np.random.Generator], Scene], length: int, seed: int, ranges: Ranges):
        self.scene, self.length, self.seed, self.ranges = scene, length, seed, ranges

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if index >= self.length:
            raise IndexError(index)  # ends a plain loop over the samples
        rng, generator = np.random.default_rng((self.seed, index)), sample_generator(self.seed, index)
        while True:
            try:
                pair = synthesise(*self.scene(rng), generator, self.ranges)
                break
            except NoRoom:
                continue  # this view is full of its object; another picture, another view
        number = torch.tensor(index)
        return {"original": pair.original, "with_object": pair.with_object, "mask": pair.mask, "number": number}


def add_synthesis_flags(parser: argparse.ArgumentParser) -> None:
    """Those of ``Ranges``."""
    usual = Ranges()
    two = {"nargs": 2, "metavar": ("LOW", "HIGH")}
    parser.add_argument("--copies", type=int, default=usual.copies[1], help="at most so many of a picture's object")
    parser.add_argument("--scale", type=float, default=usual.scale, help="of a copy %(default)s", **two)
    parser.add_argument("--turn", type=float, default=usual.turn_deg, help="of a copy, at most; degrees (%(default)s)")
    parser.add_argument("--largest", type=float, default=usual.largest, help="copy, of the shorter side (%(default)s)")
    parser.add_argument("--overlap", type=float, default=usual.overlap, help="of a copy with others (%(default)s)")
    parser.add_argument("--grow", type=int, default=usual.grow_px, help="of the hole; px %(default)s", **two)
    parser.add_argument("--boxes", type=float, default=usual.boxes, help="share of holes that are boxes (%(default)s)")
    parser.add_argument("--loose", type=float, default=usual.loose, help="share that reach far beyond (%(default)s)")


def ranges_of(args: argparse.Namespace) -> Ranges:
    """What ``add_synthesis_flags`` was told."""
    return Ranges(
        copies=(1, args.copies),
        scale=tuple(args.scale),
        turn_deg=args.turn,
        largest=args.largest,
        overlap=args.overlap,
        grow_px=tuple(args.grow),
        boxes=args.boxes,
        loose=args.loose,
    )


class DrawnScenes:
    """Views of a folder's photographs, a thing drawn into each: blobs and polygons cut from other photographs."""

    def __init__(self, folder: str | Path, size: int):
        self.paths, self.size = list_pictures(folder), size

    def __call__(self, rng: np.random.Generator) -> Scene:
        background = smooth_picture(self.size, rng) if rng.integers(SMOOTH_EVERY) == 0 else self.view(rng)
        other = np.asarray(self.view(rng), dtype=np.float32)
        while True:
            colours, alpha = random_thing(other, self.size, self.size, rng)
            if alpha.max() > 0.5:
                break
        mixed = alpha[..., None] * colours + (1 - alpha[..., None]) * np.asarray(background, dtype=np.float32)
        image, cover = to_tensor(Image.fromarray(mixed.clip(0, 255).astype(np.uint8))), torch.from_numpy(alpha)[None]
        return image, cover, cut_out(torch.from_numpy(colours / 255).permute(2, 0, 1).float(), cover)

    def view(self, rng: np.random.Generator) -> Image.Image:
        return random_view(read_rgb(self.paths[rng.integers(len(self.paths))]), self.size, rng)


class MatteScenes:
    """Views of a folder's photographs, each with its own object, known by its matte.

    The object is cut out of the whole photograph, so that a view without it has one to paste too.  Photographs that
    cannot serve are named once, with the reason.
    """

    def __init__(self, folder: str | Path, size: int):
        self.pairs, refused = list_with_mattes(folder)
        self.size = size
        name_refused(refused)

    def __call__(self, rng: np.random.Generator) -> Scene:
        picture, alpha = self.scaled(*self.pairs[rng.integers(len(self.pairs))], rng)
        if rng.random() < 0.5:
            picture, alpha = (layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for layer in (picture, alpha))
        whole, cover = (
            to_tensor(jitter_colour(picture, rng)),
            torch.from_numpy(np.asarray(alpha, dtype=np.float32) / 255)[None],
        )
        top, left = (int(rng.integers(length - self.size + 1)) for length in whole.shape[1:])
        window = (slice(None), slice(top, top + self.size), slice(left, left + self.size))
        return whole[window], cover[window], cut_out(whole, cover)

    def scaled(self, path: Path, matte: Path, rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
        """Photograph and matte at the scale at which a random square of it has our size."""
        with open_picture(path) as stored:
            width, height = stored.size
        shortest = min(width, height)
        factor = self.size / (shortest * rng.uniform(min(1.0, self.size / shortest), 1.0))
        size = max(self.size, round(width * factor)), max(self.size, round(height * factor))
        picture, alpha = read_picture_and_matte(path, matte, max(size))
        return picture.resize(size, Image.Resampling.LANCZOS), alpha.resize(size, Image.Resampling.BILINEAR)


SCENES: dict[str, Callable[[str | Path, int], Callable[[np.random.Generator], Scene]]] = {
    "mattes": MatteScenes,
    "drawn": DrawnScenes,
}
