"""How a picture is brought to the sundry detector: YOEO's rule for its size, and the statistics of its colours."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from torch import Tensor
from torch.nn import functional as F

from inpainting_core.bounds import require_number, require_whole
from inpainting_core.shapes import Float


@dataclass(frozen=True)
class Preprocessing:
    """How a picture is brought to the detector: sides in pixels, statistics of RGB in [0, 1] (ImageNet's).

    Raises ValueError for what brings no picture anywhere.
    """

    short_side: int = 640
    long_side: int = 1333
    multiple: int = 32
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self):
        require_whole("multiple", self.multiple, 1, 1024)
        require_whole("short_side", self.short_side, 8, 8192)
        require_whole("long_side", self.long_side, self.short_side, 2**14)
        for name, least in (("mean", -1e3), ("std", 1e-6)):
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) != 3:
                raise ValueError(f"{name} must be three numbers, got {values!r:.40}.")
            for value in values:
                require_number(f"each of {name}", value, least, 1e3)

    def as_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping) -> "Preprocessing":
        """The inverse of ``as_dict``; lists from JSON become tuples again.  Raises TypeError for an unknown field."""
        if not isinstance(stored, Mapping):
            raise TypeError(f"preprocessing must be described by name, got {stored!r:.40}.")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()})

    @classmethod
    def of_processor(cls, stored: Mapping) -> "Preprocessing":
        """What a ``preprocessor_config.json`` of transformers says; a fixed size gives its smaller side."""
        size = stored.get("size", {})
        if not isinstance(size, Mapping):  # as it was written before transformers 4.27
            size = {"shortest_edge": size, "longest_edge": stored.get("max_size", cls.long_side)}
        fixed = min(size.get("height", cls.short_side), size.get("width", cls.short_side))
        return cls(
            short_side=size.get("shortest_edge", fixed),
            long_side=size.get("longest_edge", cls.long_side),
            mean=tuple(stored.get("image_mean", cls.mean)),
            std=tuple(stored.get("image_std", cls.std)),
        )

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that the detector sees: each side at the nearest multiple, 512 x 512 at 640 x 640."""
        scale = min(self.short_side / min(height, width), self.long_side / max(height, width))
        rows, columns = (max(1, round(side * scale / self.multiple)) for side in (height, width))
        return rows * self.multiple, columns * self.multiple

    def __call__(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 rows columns"]:
        """The picture, RGB in [0, 1], resized bilinearly and normalised."""
        rows, columns = self.size(*image.shape[-2:])
        shrinks = rows < image.shape[-2]  # only then does antialiasing differ from plain bilinear
        image = F.interpolate(image, (rows, columns), mode="bilinear", antialias=shrinks)
        mean, std = (image.new_tensor(values).reshape(3, 1, 1) for values in (self.mean, self.std))
        return (image - mean) / std


PUBLISHED = Preprocessing()  # the authors' own
