"""EraDiff's time in units of AttentiveEraser's, whole and a step, on one UNet of random weights.

    python -m benchmarks.against_attentive_eraser [--side 512] [--turns 5] [--whole]

AttentiveEraser's published procedure is restated in ``evaluation.attentive_eraser``: 40 steps of two branches, with a
dense edit of the decoder's attention.  On a CPU one step of each is timed, with the autoencoder's calls, all in turn,
and a method's whole is their sum over its steps; ``--whole`` walks both whole paths instead, once each turn.
"""

import argparse
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from benchmarks.interleaved import Ratio, interleaved, ratios
from benchmarks.random_engine import TINY, random_engine
from benchmarks.sra_ratio import MODELS
from benchmarks.sra_ways import square
from eradiff_core.attention import rectifier
from eradiff_core.sampler import ddim, path
from evaluation.attentive_eraser import STEPS, STRENGTH, AttentiveEraser
from inpainting_core.architecture import ModelConfig
from inpainting_core.engine import DiffusersEngine
from inpainting_core.protocol import Inputs

PATHS = {"EraDiff": path(), "AttentiveEraser": path(STEPS, STRENGTH)}
SHOWN = 2  # pictures that are encoded: whole and masked
HOLE = 0.15  # of the picture


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*MODELS, "tiny"], default="SD1.5", help="the UNet's shape (%(default)s)")
    parser.add_argument("--side", type=int, default=512, help="of the picture in px (%(default)s)")
    parser.add_argument("--turns", type=int, default=5, help="of each way (%(default)s)")
    parser.add_argument("--whole", action="store_true", help="walk whole paths")
    return parser.parse_args(argv)


def ways_of(config: ModelConfig, side: int, whole: bool) -> dict[str, Callable[[], Tensor]]:
    """The autoencoder's calls, and each method's path: its first step, or all of it."""
    theirs = random_engine(config, kind=AttentiveEraser)
    engines = {
        "EraDiff": DiffusersEngine(config, theirs.unet, theirs.vae, theirs.prompt),
        "AttentiveEraser": theirs,
    }
    latent, mask = torch.randn(1, 4, side // 8, side // 8), square(HOLE, side // 8)
    pictures = torch.rand(SHOWN, 3, side, side)

    def walk(name: str) -> Tensor:
        sigmas = PATHS[name] if whole else PATHS[name][:2]
        inputs = Inputs(latent, mask, latent, rectifier(mask, "rectified"))
        return engines[name].sample(ddim, sigmas, torch.randn_like(latent), inputs)

    walks = {name: lambda name=name: walk(name) for name in PATHS}
    return {"encode": lambda: theirs.encode(pictures), "decode": lambda: theirs.decode(latent), **walks}


def steps_of(name: str) -> int:
    return len(PATHS[name]) - 1


def wholes(seconds: dict[str, list[float]], whole: bool) -> dict[str, list[float]]:
    """Each method's seconds with its encoding and decoding, turn by turn."""
    around = [sum(pair) for pair in zip(seconds["encode"], seconds["decode"], strict=True)]
    times = {name: 1 if whole else steps_of(name) for name in PATHS}
    return {
        name: [once + times[name] * walked for once, walked in zip(around, seconds[name], strict=True)]
        for name in PATHS
    }


def table(seconds: dict[str, list[float]], whole: bool) -> list[tuple[str, str, str, Ratio]]:
    """Of each row the name, both methods' seconds and theirs in units of ours."""
    found = []
    walked = "all its steps" if whole else "a step"
    for row, taken in ((walked, seconds), ("with encode and decode, whole", wholes(seconds, whole))):
        ratio = ratios({name: taken[name] for name in PATHS}, "EraDiff")["AttentiveEraser"]
        found.append((row, *(f"{median(taken[name]):.2f}" for name in PATHS), ratio))
    return found


@torch.inference_mode()
def main(args: argparse.Namespace) -> None:
    config = TINY if args.model == "tiny" else MODELS[args.model]
    seconds = interleaved(ways_of(config, args.side, args.whole), args.turns)
    print(f"| {args.model}, {args.side} px | EraDiff, s | AttentiveEraser, s | theirs / ours |\n|---|---|---|---|")
    for row in table(seconds, args.whole):
        print("| " + " | ".join(map(str, row)) + " |")
    once = ", ".join(f"{way} {median(seconds[way]):.2f} s" for way in ("encode", "decode"))
    print(f"Steps: {steps_of('EraDiff')} and {steps_of('AttentiveEraser')}; {once}.")


if __name__ == "__main__":
    main(parse_args())
