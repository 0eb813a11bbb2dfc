"""A small network that sees where an object's shadow, reflection or colour lies: from a picture and the object's mask.

It looks at a square around the object, in which it also sees how near each pixel is to the mask.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inpainting_core.masks import distance_to_hole
from inpainting_core.shapes import Float
from inpainting_core.state_dicts import fitting, read_state_dict, require_nothing_else, write_state_dict

METADATA = "erase_once_effects"  # the key of the file's metadata that holds the configuration
FADES = 0.1  # of the square's side: the distance from the mask at which ``near`` has fallen to 1 / e


@dataclass(frozen=True)
class FinderConfig:
    """``side`` of the square in px; ``widths`` are the channels of the levels, each at half the size of the last."""

    side: int = 192
    widths: tuple[int, ...] = (16, 32, 64, 96)


class EffectFinder(nn.Module):
    """A U-Net that works at half the square's size."""

    def __init__(self, config: FinderConfig = FinderConfig()):
        super().__init__()
        self.config, widths = config, config.widths
        self.stem = nn.Conv2d(5, widths[0], 3, stride=2, padding=1)
        self.down = nn.ModuleList(block(a, b) for a, b in zip((widths[0], *widths), widths, strict=False))
        self.up = nn.ModuleList(block(a + b, a) for a, b in zip(widths, widths[1:], strict=False))
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(
        self, image: Float[Tensor, "b 3 s s"], mask: Float[Tensor, "b 1 s s"], near: Float[Tensor, "b 1 s s"]
    ) -> Float[Tensor, "b 1 s s"]:
        """RGB in [0, 1], the object's mask and how near it is to the logits of an effect."""
        x = self.stem(torch.cat([2 * image - 1, mask, near], 1))
        levels = []
        for number, down in enumerate(self.down):
            x = down(x if number == 0 else F.avg_pool2d(x, 2))
            levels.append(x)
        for up, skip in zip(reversed(self.up), reversed(levels[:-1]), strict=True):
            x = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
            x = up(torch.cat([skip, x], 1))
        return F.interpolate(self.head(x), image.shape[-2:], mode="bilinear", align_corners=False)


def block(channels: int, out: int) -> nn.Sequential:
    """Two convolutions with their norms."""
    layers: list[nn.Module] = []
    for before in (channels, out):
        layers += [nn.Conv2d(before, out, 3, padding=1), nn.GroupNorm(8, out), nn.SiLU()]
    return nn.Sequential(*layers)


def near(mask: Float[Tensor, "b 1 s s"]) -> Float[Tensor, "b 1 s s"]:
    """1 in the mask, falling with the distance from it; 0 without one."""
    return (-distance_to_hole(mask) / (FADES * mask.shape[-1])).exp()


def write_finder(path: str | Path, finder: EffectFinder, training: dict | None = None) -> None:
    """Write half-precision weights with the configuration in the metadata; ``training`` is for a person to read."""
    tensors = {key: value.half() for key, value in finder.state_dict().items()}
    described = {"finder": asdict(finder.config)} | ({"training": training} if training else {})
    write_state_dict(Path(path), tensors, described, METADATA)


def load_finder(path: str | Path) -> EffectFinder:
    """The inverse of ``write_finder``, in single precision.

    Raises FileNotFoundError for a missing file and ValueError for one that is damaged or holds no finder.
    """
    tensors, metadata = read_state_dict(Path(path))
    name = Path(path).name
    try:
        said = json.loads(metadata[METADATA])["finder"]
        config = FinderConfig(int(said["side"]), tuple(int(width) for width in said["widths"]))
    except (KeyError, TypeError, ValueError) as err:
        raise ValueError(f"{name} must describe a finder of effects in its metadata ({METADATA}): {err!r}.") from err
    finder = EffectFinder(config)
    expected = {key: tuple(value.shape) for key, value in finder.state_dict().items()}
    require_nothing_else(tensors.keys() - expected.keys(), name)
    # a copy, for safetensors gives views of the file, which somebody may replace while the finder is in use
    weights = {key: value.float().clone() for key, value in fitting(tensors, expected, name).items()}
    finder.load_state_dict(weights)
    return finder.eval().requires_grad_(False)
