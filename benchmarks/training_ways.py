"""Ways to make a training's step quicker, in units of the step as the scripts take it, on the nano's UNet.

    python -m benchmarks.training_ways [--turns 5] [--batch 4] [--side 256] [--autocast bfloat16] [--compile]

A step is a prediction of noise, its gradient and AdamW.  *not fused* is AdamW as torch has it by itself, *channels
last* the layout in memory that convolutions like best, *checkpointing* computes each block anew for the gradient,
*compiled* is torch.compile, whose first call is left out.  All are timed in turn; medians with quartiles.
"""

import argparse
from collections.abc import Callable
from statistics import median

import torch
from torch import nn

from benchmarks.interleaved import interleaved, ratios
from inpainting_core.built_in import ASSETS
from inpainting_core.checkpoint import Checkpoint, read_checkpoint
from inpainting_core.engine import call_unet, load_unet
from training.running.optimisation import ADAM

LR = 1e-5


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="of each way (%(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="pictures (%(default)s)")
    parser.add_argument("--side", type=int, default=256, help="of a picture in px (%(default)s)")
    parser.add_argument("--device", default="cpu", help="(%(default)s)")
    parser.add_argument("--autocast", choices=("bfloat16", "float16"), help="mixed precision (off)")
    parser.add_argument("--compile", action="store_true", help="torch.compile too, which needs a C++ compiler")
    return parser.parse_args(argv)


def step_of(
    args: argparse.Namespace,
    checkpoint: Checkpoint,
    prepare: Callable[[nn.Module], nn.Module] = lambda unet: unet,
    layout: torch.memory_format = torch.contiguous_format,
    **adam: bool,
) -> Callable[[], None]:
    """A step of a UNet of its own."""
    unet = prepare(load_unet(checkpoint, args.device).to(memory_format=layout).train())
    optimizer = torch.optim.AdamW(unet.parameters(), lr=LR, **(ADAM | adam))
    prompt = checkpoint.empty_prompt.to(args.device, torch.float32)
    fed = torch.randn(args.batch, 9, args.side // 8, args.side // 8, device=args.device).to(memory_format=layout)
    t, dtype = torch.full((args.batch,), 500, device=args.device), getattr(torch, args.autocast or "bfloat16")

    def step() -> None:
        with torch.autocast(torch.device(args.device).type, dtype, enabled=args.autocast is not None):
            output = call_unet(unet, fed, t, prompt)
        output.float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def checkpointed(unet: nn.Module) -> nn.Module:
    unet.enable_gradient_checkpointing()
    return unet


def ways_of(args: argparse.Namespace) -> dict[str, Callable[[], None]]:
    checkpoint = read_checkpoint(ASSETS / "nano.safetensors")
    ways = {
        "as it is": step_of(args, checkpoint),
        "not fused": step_of(args, checkpoint, fused=False),
        "channels last": step_of(args, checkpoint, layout=torch.channels_last),
        "checkpointing": step_of(args, checkpoint, checkpointed),
    }
    return ways | ({"compiled": step_of(args, checkpoint, torch.compile)} if args.compile else {})


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    seconds = interleaved(ways_of(args), args.turns, args.device)
    print("| way | s a step | / as it is |\n|---|---|---|")
    for name, ratio in ratios(seconds, "as it is").items():
        print(f"| {name} | {median(seconds[name]):.3f} | {ratio} |")


if __name__ == "__main__":
    main(parse_args())
