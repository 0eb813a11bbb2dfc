"""What the judge adds to an erasure: a Mask2Former's look at the picture and its verdict, in units of the erasure.

    python -m benchmarks.judge_cost [--model SD1.5] [--turns 3] [--side 512]

YOEO in two steps by a network of random weights of full size, then the check of its picture, as a whole and from near
by, by the nano detector and by a Mask2Former on Swin-T of random weights, which sees it at 640 px as YOEO's own judge
does; all in turn, in processor seconds of one thread.
"""

import argparse
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.interleaved import interleaved, ratios
from benchmarks.on_a_gpu.erasing import scene
from benchmarks.random_engine import TINY, random_engine
from benchmarks.sra_ratio import MODELS
from benchmarks.swin_detector import swin_tiny_detector
from inpainting_core.built_in import NANO_DETECTOR
from yoeo_core import pipeline as yoeo
from yoeo_core.check import Verdict
from yoeo_core.close_check import check_closely
from yoeo_core.detector import SundryDetector, load_detector


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*MODELS, "tiny"], default="SD1.5", help="the eraser's (%(default)s)")
    parser.add_argument("--side", type=int, default=512, help="of the picture in px (%(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="of each way (%(default)s)")
    return parser.parse_args(argv)


def ways_of(args: argparse.Namespace) -> dict[str, Callable[[], object]]:
    engine = random_engine(TINY if args.model == "tiny" else MODELS[args.model])
    image, mask = scene(args.side)
    hole = mask[None, None]  # random weights erase to noise, and noise is what the judge is shown

    def judged(detector: SundryDetector) -> Verdict:
        return check_closely(image, hole, detector(image), detector)

    detectors = {"nano detector": load_detector(NANO_DETECTOR), "Swin-T, 640 px": swin_tiny_detector()}
    checks = {name: lambda detector=detector: judged(detector) for name, detector in detectors.items()}
    return {"erase": lambda: yoeo.erase(engine, image, mask), **checks}


@torch.inference_mode()
def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    seconds = interleaved(ways_of(args), args.turns, warm_up=0)
    print(f"An erasure by {args.model} at {args.side} px: {median(seconds['erase']):.2f} s.")
    print("| the check by | s | added |\n|---|---|---|")
    for name, added in list(ratios(seconds, "erase").items())[1:]:
        print(f"| {name} | {median(seconds[name]):.2f} | {added} |")


if __name__ == "__main__":
    main(parse_args())
