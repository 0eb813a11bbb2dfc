"""What drawing several candidates and keeping the best brings, and what it costs.

    python -m benchmarks.candidates --pictures DIR [--model FILE] [--detector FILE]
    python -m benchmarks.candidates --pictures DIR --resolution 512 --at-most 8

``DIR`` holds ``NAME.jpg`` or ``NAME.png`` with ``NAME_mask.png`` (white where to erase) and, where the truth is known,
``NAME_gt.png``.  Printed for 1, 2, 4 and 8 candidates: the share of pictures that pass the Sundry Check (no sundry in
any crop's hole), the mean share of the hole that is sundries, seconds a picture, how many times one candidate's those
are (each picture against itself, measured side by side: median and quartiles), and over the pictures with a truth PSNR
and ST-LPIPS in the hole.  Beside "judge", as many candidates without one: the quietest seam is taken.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass
from statistics import mean, median, quantiles
from time import perf_counter

from torch import Tensor
from tqdm import tqdm

from benchmarks.around_the_hole import perceptual_in, psnr_in
from inpainting_core.built_in import BUILT_IN, NANO, NANO_DETECTOR
from inpainting_core.engine import load_engine
from inpainting_core.masks import as_mask
from inpainting_core.picture_files import read_mask, read_picture, visible_rgb
from training.data.listing import list_pictures
from training.networks.perceptual import perceptual_net
from yoeo_core import pipeline as yoeo
from yoeo_core.detector import load_detector
from yoeo_core.judge import judge_by

WAYS = [(1, "judge"), *((count, name) for count in (2, 4, 8) for name in ("judge", "seam"))]
COLUMNS = ("passed", "sundry share", "s a picture", "x one", "PSNR, dB", "ST-LPIPS")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", required=True, help="folder of NAME.jpg, NAME_mask.png, NAME_gt.png")
    parser.add_argument("--model", default=str(BUILT_IN[NANO]), help="erase checkpoint (%(default)s)")
    parser.add_argument("--resolution", type=int, help="side that the model works at (the model's own)")
    parser.add_argument("--at-most", type=int, help="so many of the pictures (all)")
    parser.add_argument("--detector", default=str(NANO_DETECTOR), help="judges (%(default)s)")
    return parser.parse_args(argv)


def read(folder: str) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    """Every picture with a mask, and its truth where there is one."""
    found = []
    for path in list_pictures(folder):
        mask, truth = (path.with_name(f"{path.stem}_{what}.png") for what in ("mask", "gt"))
        if mask.exists():
            picture = visible_rgb(read_picture(path))
            hole = as_mask(read_mask(mask), *picture.shape[-2:])
            found.append((picture, hole, visible_rgb(read_picture(truth)) if truth.exists() else None))
    return found


@dataclass(frozen=True)
class Seen:
    """One erased picture: seconds, the share of a hole that is sundries (None unjudged), PSNR and ST-LPIPS or none."""

    seconds: float
    left: float | None
    against_truth: tuple[float, float] | None


def row(seen: list[Seen], alone: list[Seen]) -> list[str]:
    """One line of the table; ``alone`` are the same pictures with one candidate."""
    left = [one.left for one in seen if one.left is not None]
    judged = [f"{mean(x == 0 for x in left):.2f}", f"{mean(left):.3f}"] if left else ["", ""]
    times = sorted(one.seconds / first.seconds for one, first in zip(seen, alone, strict=True))
    low, middle, high = quantiles(times, n=4) if len(times) > 1 else times * 3
    known = [one.against_truth for one in seen if one.against_truth]
    truth = [f"{mean(psnr for psnr, _ in known):.2f}", f"{mean(far for _, far in known):.4f}"] if known else ["", ""]
    return [*judged, f"{median(one.seconds for one in seen):.2f}", f"{middle:.2f} ({low:.2f} to {high:.2f})", *truth]


def main(args: argparse.Namespace) -> None:
    engine, detector = load_engine(args.model), load_detector(args.detector)
    judge = judge_by(detector)
    distance, pictures = perceptual_net("stlpips_alex"), read(args.pictures)[: args.at_most]
    seen = defaultdict(list)
    for picture, hole, truth in tqdm(pictures):
        for count, name in WAYS:
            started = perf_counter()
            by = judge if name == "judge" else None
            erased = yoeo.erase(engine, picture, hole, candidates=count, judge=by, resolution=args.resolution)
            seconds, far = perf_counter() - started, None
            if truth is not None:
                far = psnr_in(hole, erased.image, truth), perceptual_in(distance, hole, erased.image, truth)
            seen[count, name].append(Seen(seconds, max(erased.left) if by else None, far))
    print(f"{len(pictures)} pictures, {sum(truth is not None for *_, truth in pictures)} with their truth\n")
    print("| candidates | chosen by | " + " | ".join(COLUMNS) + " |\n" + "|---" * (len(COLUMNS) + 2) + "|")
    for (count, name), ones in seen.items():
        print(f"| {count} | {name if count > 1 else '-'} | " + " | ".join(row(ones, seen[WAYS[0]])) + " |")


if __name__ == "__main__":
    main(parse_args())
