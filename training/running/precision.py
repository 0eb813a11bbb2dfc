"""What half precision costs: a processor that has none of its own takes many times as long in it as in fp32."""

from time import perf_counter

import torch
from torch.nn.functional import conv2d

TOO_SLOW = 3.0  # times as long as fp32; a processor without bf16 and fp16 of its own took 20 and more
TURNS = 4
INPUT, KERNEL = (1, 64, 16, 16), (64, 64, 3, 3)  # a third of a millisecond of fp32 on one core


def told_of_half(device: torch.device | str, dtype: torch.dtype, instead: str) -> str:
    """What whoever asks for this dtype is told before hours have passed.

    Nothing where it is quick, and nothing of cards, on which this was not tried.
    """
    if torch.device(device).type != "cpu" or (times := slowdown(dtype)) < TOO_SLOW:
        return ""
    name = str(dtype).removeprefix("torch.")
    return (
        f"a convolution takes {times:.0f} times as long in {name} as in float32 on this cpu: {instead} is quicker here."
    )


def slowdown(dtype: torch.dtype) -> float:
    """How many times as long as in fp32 a convolution takes on the CPU, the least of some turns of each.

    By the clock, for not every processor says what it has.
    """
    fp32, half = (min(_seconds_of_a_convolution(x) for _ in range(TURNS)) for x in (torch.float32, dtype))
    return half / fp32


@torch.no_grad()
def _seconds_of_a_convolution(dtype: torch.dtype) -> float:
    x, kernel = (torch.ones(shape, dtype=dtype, device="cpu") for shape in (INPUT, KERNEL))
    started = perf_counter()
    conv2d(x, kernel, padding=1)
    return perf_counter() - started
