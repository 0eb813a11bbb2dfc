"""Ways to make a training's step quicker or smaller, in units of the step as the scripts take it, on the nano's UNet.

    python -m benchmarks.training_ways [--turns 5] [--batch 4] [--side 256] [--autocast bfloat16] [--compile]

A step is a prediction of noise, its gradient and AdamW.  *not fused* is AdamW as torch has it by itself, *8-bit* that
of ``--adam-8bit``, *channels last* the layout in memory that convolutions like best, *full* and *selective* are ways of
``--gradient-checkpointing``, *compiled* is torch.compile, whose first call is left out.  All are timed in turn; medians
with quartiles.
"""

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from statistics import median

import torch
from torch import nn

from benchmarks.interleaved import interleaved, ratios
from inpainting_core.built_in import ASSETS
from inpainting_core.checkpoint import Checkpoint, read_checkpoint
from inpainting_core.engine import call_unet, load_unet
from training.running.checkpointing import WAYS, checkpoint_gradients
from training.running.optimisation import EPS, adamw_of

LR = 1e-5
AS_IT_IS = partial(adamw_of, args=argparse.Namespace(lr=LR, adam_8bit=False))


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
    optimizer_of: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = AS_IT_IS,
    layout: torch.memory_format = torch.contiguous_format,
) -> Callable[[], None]:
    """A step of a UNet of its own."""
    unet = prepare(load_unet(checkpoint, args.device).to(memory_format=layout).train())
    optimizer = optimizer_of(unet.parameters())
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


def checkpointed(way: str, unet: nn.Module) -> nn.Module:
    checkpoint_gradients(way, unet)
    return unet


def ways_of(args: argparse.Namespace) -> dict[str, Callable[[], None]]:
    made = partial(step_of, args, read_checkpoint(ASSETS / "nano.safetensors"))
    ways = {
        "as it is": made(),
        "not fused": made(optimizer_of=partial(torch.optim.AdamW, lr=LR, eps=EPS)),
        "8-bit": made(optimizer_of=partial(adamw_of, args=argparse.Namespace(lr=LR, adam_8bit=True))),
        "channels last": made(layout=torch.channels_last),
    }
    ways |= {f"checkpointing {way}": made(partial(checkpointed, way)) for way in WAYS}
    return ways | ({"compiled": made(torch.compile)} if args.compile else {})


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    seconds = interleaved(ways_of(args), args.turns, args.device)
    print("| way | s a step | / as it is |\n|---|---|---|")
    for name, ratio in ratios(seconds, "as it is").items():
        print(f"| {name} | {median(seconds[name]):.3f} | {ratio} |")


if __name__ == "__main__":
    main(parse_args())
