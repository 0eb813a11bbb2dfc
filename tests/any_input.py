"""Pictures and masks of every kind that a graph or a script could hand to an eraser, and which rule each breaks."""

from dataclasses import dataclass
from math import prod

import torch
from hypothesis import strategies as st
from torch import Tensor

LONG = st.integers(30, 130)
SIDES = st.one_of(st.integers(1, 12), LONG)
SIZES = st.one_of(*[st.tuples(SIDES, SIDES)] * 3, st.sampled_from([(1, 1), (1, 4000), (700, 2)]))
DTYPES = st.sampled_from([torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float64])
KINDS = st.sampled_from([torch.bool, torch.uint8, torch.int32, torch.complex64])
# The rules, as their sentences begin.
AXES = "image must have the shape [b, h, w, c], got "
CHANNELS = "image must have 3 channels (RGB) or 4 (RGB and alpha), got "
EMPTY = "image must have pixels, got "
KIND = "image must hold float16, bfloat16, float32 or float64 numbers, 1 for white, got "
NUMBERS = "image must hold finite numbers only, got NaN "
LARGEST = "image must hold numbers of at most 1e+30, got "
SHAPE = "mask must have the shape [h, w], [n, h, w] or [b, n, h, w], got "
MASK_KIND = "mask must hold numbers from 0 to 1 in a type such as float32, uint8 or bool, got "
RANGE = "mask must hold numbers from 0 to 1, got "
COUNT = "mask must come once or once per picture ("
ASPECT = "mask must have the picture's size or aspect ratio: "
RULES = st.sampled_from([""] * 10 + [CHANNELS, EMPTY, KIND, NUMBERS, LARGEST, SHAPE, RANGE, COUNT, ASPECT])
# What a picture holds, of noise in [0, 1].
HELD = {
    "noise": lambda x: x,
    "8 bits": lambda x: (x * 255).round() / 255,
    "black": lambda x: x * 0,
    "white": lambda x: x * 0 + 1,
    "beyond": lambda x: 3 * x - 1,
    "tiny": lambda x: x * 1e-40,
    "huge": lambda x: (2 * x - 1) * 6e4,
    "a lamp": lambda x: torch.where(x == x.max(), 6e4, x),
}
# What is hole, of noise in [0, 1], rows and columns.
HOLES = {
    "rows": lambda x, y, _: (y < 0.3) * 1.0,
    "box": lambda x, y, _: ((0.2 < x) & (x < 0.6) & (0.3 < y) & (y < 0.5)) * 1.0,
    "corners": lambda x, y, _: ((abs(x - 0.5) > 0.4) & (abs(y - 0.5) > 0.4)) * 1.0,
    "one pixel": lambda x, y, noise: (noise == noise.max()) * 1.0,
    "all but one pixel": lambda x, y, noise: (noise != noise.max()) * 1.0,
    "specks": lambda x, y, noise: (noise > 0.999) * 1.0,
    "half": lambda x, y, noise: (noise > 0.5) * 1.0,
    "soft": lambda x, y, noise: 0.6 * noise,
    "faint": lambda x, y, noise: 0.49 * noise,
    "empty": lambda x, y, noise: noise * 0,
    "full": lambda x, y, noise: noise * 0 + 1,
}
LAYOUTS = {
    "as it is": lambda x: x,
    "turned": lambda x: x.transpose(0, -1).contiguous().transpose(0, -1),
    "every other": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "a part": lambda x: torch.nn.functional.pad(x, (3, 2, 1, 4))[..., 1:-4, 3:-2],
}


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """An IMAGE ``[b, h, w, c]``, a MASK, and the rule that they break, "" for none."""

    image: Tensor
    mask: Tensor
    broken: str

    def __repr__(self) -> str:
        image, mask = (f"{x.dtype} {list(x.shape)}, {x.stride()}" for x in (self.image, self.mask))
        return f"image {image}; mask {mask}; {self.broken or 'no rule broken'}"


@st.composite
def cases(draw) -> Case:
    broken, frames = draw(RULES), draw(st.integers(1, 2))
    noise = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    height, width = draw(st.tuples(LONG, LONG) if broken == ASPECT else SIZES)
    channels = draw(st.sampled_from([1, 2, 5] if broken == CHANNELS else [3, 4]))
    image = HELD[draw(st.sampled_from(list(HELD)))](torch.rand(frames, height, width, channels, generator=noise))
    image = image.to(draw(KINDS if broken == KIND else DTYPES))
    if broken == NUMBERS:
        spoil(image, draw(st.sampled_from([torch.nan, torch.inf, -torch.inf])), noise)
    if broken == LARGEST:
        image = spoil(image.float(), draw(st.sampled_from([3e38, -3e38])), noise)
    if broken == EMPTY:
        image = image[:0] if draw(st.booleans()) else image[:, :, :0]
    mask = draw(masks(height, width, frames, broken, noise))
    image, mask = (LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](x) for x in (image, mask))
    return Case(image, mask, broken)


@st.composite
def masks(draw, height: int, width: int, frames: int, broken: str, noise: torch.Generator) -> Tensor:
    times = draw(st.sampled_from([1, 1, 1, 2]))  # a mask may be larger than its picture
    height, width = times * height, times * width * (3 if broken == ASPECT else 1)
    fitting = [(), (1,), (1, 1), (frames,), (frames, 1), (1, frames)] + ([(3,)] if frames == 1 else [(2, 3)])
    shapes = {COUNT: [(3,)] if frames > 1 else [(3, 2)], SHAPE: [(0,), (1, 1, 1)]}.get(broken, fitting)
    shape = draw(st.sampled_from(shapes))
    planes = [draw(hole(height, width, noise)) for _ in range(prod(shape))]
    mask = torch.stack(planes).view(*shape, height, width) if planes else torch.zeros(*shape, height, width)
    if broken == ASPECT:
        mask[..., 0, 0] = 1  # an empty one would fit every picture
    if broken == RANGE:
        return spoil(mask, draw(st.sampled_from([torch.nan, torch.inf, -1.0, 255.0])), noise).to(draw(DTYPES))
    return mask.to(draw(st.one_of(DTYPES, st.sampled_from([torch.bool, torch.uint8, torch.int64]))))


@st.composite
def hole(draw, height: int, width: int, noise: torch.Generator) -> Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return HOLES[draw(st.sampled_from(list(HOLES)))](x, y, torch.rand(height, width, generator=noise))


def spoil(values: Tensor, number: float, noise: torch.Generator) -> Tensor:
    """One of the values, changed in place."""
    values.view(-1)[torch.randint(values.numel(), (1,), generator=noise)] = number
    return values
