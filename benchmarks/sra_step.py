"""What Self-Rectifying Attention costs a whole step of a UNet: of steps by turns, or of layers by turns."""

import argparse
from collections.abc import Callable
from functools import lru_cache
from itertools import count

import torch
from torch import Tensor

from benchmarks.interleaved import Ratio, interleaved, ratios, seconds_of
from benchmarks.plain import build_unet
from benchmarks.sra_ways import SIGMA, square, ways_of
from inpainting_core.architecture import ModelConfig, UNetShape
from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import call_unet
from inpainting_core.self_attention import SelfAttention, self_attention

Step = Callable[[SelfAttention], Callable[[], Tensor]]  # one call of a UNet, by how it attends to itself


@torch.no_grad()
def of_a_step(config: ModelConfig, side: int, share: float, args: argparse.Namespace) -> dict[str, Ratio]:
    """A whole UNet's step each way, in units of one with plain attention."""
    step, ways = _asked_for(config, side, share, args)
    return ratios(interleaved({name: step(way) for name, way in ways.items()}, args.steps, args.device), "off")


@torch.no_grad()
def of_layers(config: ModelConfig, side: int, share: float, args: argparse.Namespace) -> dict[str, Ratio]:
    """A whole UNet's step each way, in units of one with plain attention, of steps that attend every way in turn."""
    (step, ways), seconds = _asked_for(config, side, share, args), []
    for _ in range(1 + args.layers):  # the first warms up
        whole, spent = attending_every_way(step, ways, args.device)
        rest = whole - sum(spent.values())
        seconds.append({name: rest + own for name, own in spent.items()})
    return ratios({name: [turn[name] for turn in seconds[1:]] for name in ways}, "off")


def _asked_for(
    config: ModelConfig, side: int, share: float, args: argparse.Namespace
) -> tuple[Step, dict[str, SelfAttention]]:
    unet = step_unet(config.unet, args.device, getattr(torch, args.dtype))
    return step_of(unet, config.unet, side), ways_of(square(share, side // 8), args.ways)


def attending_every_way(
    step: Step, ways: dict[str, SelfAttention], device: torch.device | str
) -> tuple[float, dict[str, float]]:
    """The seconds of one step, and of them what each way of attention took; every other layer has them backwards."""
    spent, turn = dict.fromkeys(ways, 0.0), count()

    def every_way(*given: object) -> Tensor:
        found = {}
        for name in list(ways)[:: 1 if next(turn) % 2 else -1]:
            spent[name] += seconds_of(lambda name=name: found.update({name: ways[name](*given)}), device)
        return found["off"]

    return seconds_of(step(every_way), device), spent


def step_of(unet: torch.nn.Module, shape: UNetShape, side: int) -> Step:
    """One call of a UNet with random input, by how it attends to itself."""
    weight = next(unet.parameters())
    pooled = shape.pooled_dim and weight.new_empty(1, shape.pooled_dim).normal_()
    prompt = Prompt(weight.new_empty(1, 77, shape.context_dim).normal_(), pooled)
    fed, t = weight.new_empty(1, 9, side // 8, side // 8).normal_(), torch.tensor([500], device=weight.device)

    def step(attention: SelfAttention) -> Callable[[], Tensor]:
        def one() -> Tensor:
            with self_attention(unet, attention, fed.shape[-2:], SIGMA):
                return call_unet(unet, fed, t, prompt)

        return one

    return step


@lru_cache(1)
def step_unet(shape: UNetShape, device: torch.device | str, dtype: torch.dtype) -> torch.nn.Module:
    with torch.device(device):
        return build_unet(shape).to(dtype).eval().requires_grad_(False)
