"""What a network that corrects copies is shown: its hole holds one, made of the picture at twice the network's size.

That is how the pipelines make it (``inpainting_core.copying``).  A search takes longer than all else about a sample, so
that it is the data's work, of as many processes as there are workers.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from inpainting_core.architecture import ModelConfig
from inpainting_core.copying import FINER, smaller
from inpainting_core.latents import masked_picture
from training.data.pools import Facts

PICTURES = ("image", "original", "with_object", "around")
SEEN = ("around", "with_object", "image")  # the first of these that a sample has is what lies around its hole


class Shown(Dataset):
    """Samples of ``FINER`` times a network's size, brought to it; ``shown`` ``[3, h, w]`` is what it is to correct."""

    def __init__(self, samples: Dataset):
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def facts(self) -> Facts:
        """What the samples depend on."""
        return self.samples.facts() | {"shown": "copied"}

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        sample = self.samples[index]
        large = {key: sample[key] for key in PICTURES if key in sample}
        around, hole = next(large[key] for key in SEEN if key in large), sample["mask"]
        shown = masked_picture(around[None], hole[None], "copied")[0]
        sample |= {key: smaller(picture) for key, picture in large.items()}
        sample |= {"shown": smaller(shown), "mask": F.max_pool2d(hole, FINER)}
        if "entities" in sample:
            sample["entities"] = sample["entities"][::FINER, ::FINER]
        return sample


def as_shown(make: Callable[[int], Dataset], config: ModelConfig) -> Dataset:
    """The samples that ``make(side)`` gives, as the network of this configuration is to see them."""
    if config.under_hole == "copied":
        return Shown(make(FINER * config.resolution))
    return make(config.resolution)
