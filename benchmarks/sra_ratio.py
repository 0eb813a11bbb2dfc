"""What Self-Rectifying Attention costs: attention with it in units of attention without, and one UNet step likewise.

    python -m benchmarks.sra_ratio                                    # every level of SD1.5, SD2 and SDXL
    python -m benchmarks.sra_ratio --only SD1.5 --steps 5             # and a whole step of SD1.5's UNet
    python -m benchmarks.sra_ratio --only SDXL --layers 5             # a step whose layers attend every way in turn

Holes are squares; all ways of one row are timed in turn.  *hard* is eq. 10, *dense* the same with a mask of all pairs
of tokens added to the logits; *ragged* is a batch of two with unlike holes, in units of one whose holes are alike.
Printed are medians with their quartiles.  Where steps take minutes, a machine's speed drifts from one to the next: with
--layers all but attention is timed once for all ways.  *least* is what of the multiplications eq. 10 leaves to do: no
hard way can take less.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.interleaved import Ratio, interleaved, ratios
from benchmarks.plain import build_unet
from benchmarks.sra_step import of_a_step, of_layers, step_of
from benchmarks.sra_ways import SHARES, SIGMA, WAYS, plainly, square, ways_of
from eradiff_core.attention import rectifier
from inpainting_core.architecture import SD2_INPAINT, SD15_INPAINT, SDXL_INPAINT, ModelConfig
from inpainting_core.self_attention import SelfAttention

MODELS = {"SD1.5": SD15_INPAINT, "SD2": SD2_INPAINT, "SDXL": SDXL_INPAINT}


@dataclass(frozen=True)
class Level:
    """A UNet's self-attention on one token grid: its side, its heads and their width, in how many layers."""

    side: int
    heads: int
    width: int
    layers: int


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=MODELS, nargs="+", default=list(MODELS), help="(all)")
    parser.add_argument("--side", type=int, help="of the picture in px; left out: the model's own")
    parser.add_argument(
        "--shares", type=float, nargs="+", default=SHARES, help="of the picture in the hole (%(default)s)"
    )
    parser.add_argument("--ways", choices=WAYS, nargs="+", default=WAYS, help="beside plain attention (%(default)s)")
    parser.add_argument("--heads", type=int, default=99, help="of each level, at most (%(default)s)")
    parser.add_argument("--turns", type=int, default=9, help="of each way (%(default)s)")
    parser.add_argument("--steps", type=int, default=0, help="turns of a whole UNet's step (%(default)s)")
    parser.add_argument("--layers", type=int, default=0, help="turns of a step, each layer every way (%(default)s)")
    parser.add_argument("--device", default="cpu", help="(%(default)s)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="(%(default)s)")
    return parser.parse_args(argv)


def levels_of(config: ModelConfig, side: int) -> list[Level]:
    """The grids that a UNet attends to itself on, for pictures of so many pixels each way."""
    shape, grid = config.unet, side // 8
    last, found = len(shape.channels) - 1, []
    for number, (width, depth) in enumerate(zip(shape.channels, shape.blocks, strict=True)):
        layers = depth * (2 * shape.layers + 1) + (shape.middle_blocks if number == last else 0)
        heads = shape.heads or width // shape.head_dim
        found += [Level(grid >> number, heads, width // heads, layers)] if layers else []
    return found


def of_a_level(level: Level, share: float, args: argparse.Namespace) -> dict[str, Ratio]:
    """Each way in units of plain attention; ragged in units of a uniform batch."""
    device, n = args.device, level.side**2
    shape, dtype = (2, min(level.heads, args.heads), n, level.width), getattr(torch, args.dtype)
    qkv = [torch.randn(shape, device=device, dtype=dtype) for _ in range(3)]

    def timed(ways: dict[str, SelfAttention], qkv: list[Tensor], beside: str) -> dict[str, Ratio]:
        calls = {name: lambda way=way: way(*qkv, level.side, level.side, SIGMA) for name, way in ways.items()}
        repeats = max(1, 2**19 // n**2)  # small grids are too quick for a clock
        loops = {name: lambda call=call: [call() for _ in range(repeats)] for name, call in calls.items()}
        return ratios(interleaved(loops, args.turns, device), beside)

    one = square(share, level.side)
    unlike = torch.cat([one, square(share, level.side, offset=max(1, level.side // 8))])
    found = timed(ways_of(one, args.ways), [x[:1] for x in qkv], "off")
    batches = {"uniform": rectifier(one, "rectified"), "ragged": rectifier(unlike, "rectified")}
    return found | {"ragged": timed(batches, qkv, "uniform")["ragged"]}


@torch.no_grad()
def attending(config: ModelConfig, side: int) -> float:
    """The share of a step's multiplications that compares tokens with tokens, counted on the meta device."""
    with torch.device("meta"):
        unet = build_unet(config.unet)
    with FlopCounterMode(display=False) as counted:
        step_of(unet, config.unet, side)(plainly)()
    compared = sum(4 * level.side**4 * level.heads * level.width * level.layers for level in levels_of(config, side))
    return compared / counted.get_total_flops()


def rows(args: argparse.Namespace) -> Iterator[tuple[str, dict[str, Ratio | str]]]:
    for name in args.only:
        config = MODELS[name]
        side = args.side or config.resolution
        compared = attending(config, side) if args.steps or args.layers else 0
        for share in args.shares:
            for level in levels_of(config, side):
                place = f"{name} | {level.side} x {level.side}, {level.heads} x {level.width}, {level.layers} layers"
                yield f"{place} | {share:.0%}", of_a_level(level, share, args) | {"least": f"{1 - share**2:.3f}"}
            least = {"least": f"{1 - compared * share**2:.3f}"}
            at = f"at {side} px | {share:.0%}"
            if args.steps:
                yield f"{name} | a step {at}", of_a_step(config, side, share, args) | least
            if args.layers:
                yield f"{name} | a step's layers {at}", of_layers(config, side, share, args) | least


def main(args: argparse.Namespace) -> None:
    columns = ("hard", "strict", "dense", "ragged", "least")
    print(f"| model | grid, heads x width | hole | {' | '.join(columns)} |\n|---|---|---|{'---|' * len(columns)}")
    for place, found in rows(args):
        cells = [str(found.get(name, "")) for name in columns]
        print(f"| {place} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(parse_args())
