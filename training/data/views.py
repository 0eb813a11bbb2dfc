"""Views of a folder's pictures alone: what an autoencoder trains on.

Because sample number ``i`` never depends on what was drawn before it, a resumed run continues with exactly the batches
that an uninterrupted one would have seen.
"""

from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from inpainting_core.shapes import Float
from training.data.pictures import jitter_colour, random_view, smooth_picture, to_tensor
from training.data.reading import read_bounded
from training.data.stream import Stream, source_of


class PictureViews(Dataset):
    """Random views of a folder's pictures in other lights, one in ``smooth_every`` a procedural smooth surface instead.

    Items are RGB in [0, 1], ``[3, size, size]``.
    """

    def __init__(self, folder: str | Path, size: int, length: int, seed: int, smooth_every: int = 12):
        source = source_of(folder)
        self.stream = Stream(source, np.arange(len(source)), [(size, size)], 1, seed)
        self.size, self.length, self.seed, self.smooth_every = size, length, seed, smooth_every

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Float[Tensor, "3 h w"]:
        if index >= self.length:
            raise IndexError(index)  # ends a plain loop over the samples
        rng, shape = np.random.default_rng((self.seed, index)), (self.size, self.size)
        if rng.integers(self.smooth_every) == 0:
            return to_tensor(smooth_picture(shape, rng))
        picture = self.stream.read(index, lambda files: read_bounded(files.picture))
        return to_tensor(jitter_colour(random_view(picture, shape, rng), rng))
