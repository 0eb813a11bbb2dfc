"""What half precision costs: a machine that has none of its own takes many times as long in it as in fp32."""

from time import perf_counter

import torch
from torch.nn.functional import conv2d

TOO_SLOW = 3.0  # times as long as fp32; a processor with bf16 of its own takes .5 to 1.5, one without it 10 and more
TURNS = 4
INPUT, KERNEL = (1, 64, 16, 16), (64, 64, 3, 3)  # a millisecond of fp32 on one core


def told_of_half(device: torch.device | str, dtype: torch.dtype, instead: str) -> str:
    """What whoever asks for this dtype is told before hours have passed: nothing where it is quick."""
    device = torch.device(device)
    times = slowdown(device, dtype)
    if times < TOO_SLOW:
        return ""
    name = str(dtype).removeprefix("torch.")
    return f"{name} takes {times:.0f} times as long as float32 on this {device.type}: {instead} is quicker here."


def slowdown(device: torch.device, dtype: torch.dtype) -> float:
    """How many times as long as in fp32 a convolution and its gradient take, the least of some turns of each.

    By the clock, for neither processors nor cards all say what they have.
    """
    fp32, half = (min(_seconds_of_a_convolution(device, x) for _ in range(TURNS)) for x in (torch.float32, dtype))
    return half / fp32


def _seconds_of_a_convolution(device: torch.device, dtype: torch.dtype) -> float:
    x, kernel = (torch.ones(shape, device=device, dtype=dtype, requires_grad=True) for shape in (INPUT, KERNEL))
    _wait_for(device)
    started = perf_counter()
    conv2d(x, kernel, padding=1).sum().backward()
    _wait_for(device)
    return perf_counter() - started


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
