"""What drawing several candidates and keeping the best brings, and what it costs.

    python -m benchmarks.candidates --pictures DIR [--detector FILE]

``DIR`` holds ``NAME.jpg`` or ``NAME.png`` with ``NAME_mask.png`` (white where to erase) and, where the truth is known,
``NAME_gt.png``.  Printed for 1, 2, 4 and 8 candidates: the share of pictures that pass the Sundry Check (no sundry in
any crop's hole), the mean share of the hole that is sundries, seconds a picture and their ratio to one candidate's, and
over the pictures with a truth PSNR and ST-LPIPS in the hole.  Beside "best of", as many candidates without a judge:
the quietest seam.
"""

import argparse
from statistics import mean, median
from time import perf_counter

from torch import Tensor
from tqdm import tqdm

from benchmarks.against_classics import perceptual_in, psnr_in
from eradiff_core.inpainting.built_in import BUILT_IN, NANO, NANO_DETECTOR
from eradiff_core.inpainting.engine import load_engine
from eradiff_core.inpainting.masks import as_mask
from training.perceptual import perceptual_net
from training.pictures import list_pictures, read_rgb, to_tensor
from yoeo_core import pipeline as yoeo
from yoeo_core.detector import load_detector
from yoeo_core.judge import judge_by

COUNTS = (1, 2, 4, 8)
COLUMNS = ("passed", "sundry share", "s a picture", "x one", "PSNR, dB", "ST-LPIPS")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", required=True, help="folder of NAME.jpg, NAME_mask.png, NAME_gt.png")
    parser.add_argument("--model", default=str(BUILT_IN[NANO]), help="erase checkpoint (%(default)s)")
    parser.add_argument("--detector", default=str(NANO_DETECTOR), help="judges (%(default)s)")
    return parser.parse_args(argv)


def read(folder: str) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    """Every picture with a mask, and its truth where there is one."""
    found = []
    for path in list_pictures(folder):
        mask, truth = (path.with_name(f"{path.stem}_{what}.png") for what in ("mask", "gt"))
        if mask.exists():
            picture = to_tensor(read_rgb(path))[None]
            hole = as_mask(to_tensor(read_rgb(mask))[None, :1], *picture.shape[-2:])
            found.append((picture, hole, to_tensor(read_rgb(truth))[None] if truth.exists() else None))
    return found


def main(args: argparse.Namespace) -> None:
    engine, detector = load_engine(args.model), load_detector(args.detector)
    judge = judge_by(lambda pictures: [detector(pictures)])
    distance, pictures = perceptual_net("stlpips_alex"), read(args.pictures)
    truths = sum(truth is not None for *_, truth in pictures)
    print(f"{len(pictures)} pictures, {truths} with their truth\n")
    print("| candidates | chosen by | " + " | ".join(COLUMNS) + " |\n" + "|---" * (len(COLUMNS) + 2) + "|")
    one = None
    for count in COUNTS:
        for name in ("judge", "seam") if count > 1 else ("-",):
            left, seconds, psnr, far = [], [], [], []
            for picture, hole, truth in tqdm(pictures, desc=f"{count} by {name}", leave=False):
                started = perf_counter()
                erased = yoeo.erase(engine, picture, hole, candidates=count, judge=judge if name != "seam" else None)
                seconds.append(perf_counter() - started)
                if name != "seam":
                    left.append(max(erased.left))
                if truth is not None:
                    psnr.append(psnr_in(hole, erased.image, truth))
                    far.append(perceptual_in(distance, hole, erased.image, truth))
            one = one or median(seconds)
            judged = [f"{mean(x == 0 for x in left):.2f}", f"{mean(left):.3f}"] if left else ["", ""]
            cells = [*judged, f"{median(seconds):.2f}", f"{median(seconds) / one:.2f}"]
            cells += [f"{mean(psnr):.2f}", f"{mean(far):.4f}"] if psnr else ["", ""]
            print(f"| {count} | {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(parse_args())
