"""The flags of ``training.erase``, and what is wrong with them before any weight is loaded."""

import argparse
import math
from pathlib import Path

import torch

from eradiff_core.attention import MODES, Softness
from eradiff_core.pipeline import STARTS
from eradiff_core.sampler import path as eradiff_path
from inpainting_core.built_in import BUILT_IN, NANO_DETECTOR, NANO_OF
from inpainting_core.choosing import MOST_CANDIDATES
from inpainting_core.crop import GRID
from training.erasing.table import stamp
from yoeo_core.consistency import path as yoeo_path

TRIES = 4
# What shapes a result: another value of one of these does a picture again.
SHAPING = (
    *("method", "model", "base", "steps", "seed", "grow", "context", "resolution", "strength", "attention"),
    *("softness", "softness_rising", "start", "dtype", "candidates", "detector", "until_clean", "tries"),
    *("raw", "squeeze", "official", "effects"),
)
RANGES = {  # from, and below what
    "seed": (0, 2**64),
    "grow": (0, math.inf),
    "context": (0, math.inf),
    "resolution": (GRID, math.inf),
    "candidates": (1, MOST_CANDIDATES + 1),
    "tries": (1, math.inf),
}
ONLY = {"eradiff": {"strength", "attention", "softness", "softness_rising", "start"}, "yoeo": {"official"}}
OTHER_SIZES = ("grow", "resolution", "squeeze")
NEEDS_CROPS = ("context", "candidates", "detector", "until_clean", "tries")


def parse_args(argv: list[str] | None = None, about: str | None = None) -> argparse.Namespace:
    """The flags as they were given; None stands for what was left out."""
    parser = argparse.ArgumentParser(
        prog="python -m training.erase", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_files(parser.add_argument_group("files"))
    add_method(parser.add_argument_group("how to erase"))
    add_choice(parser.add_argument_group("best of several"))
    add_raw(parser.add_argument_group("the network's own picture"))
    return parser.parse_args(argv)


def add_files(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--images", required=True, type=Path, help="folder of pictures with its sub-folders, or one file"
    )
    group.add_argument(
        "--masks",
        required=True,
        type=Path,
        help="folder of masks, white where to erase: a/dog.* or a/dog_mask.* for a/dog.jpg; or one file for all",
    )
    group.add_argument(
        "--out",
        required=True,
        type=Path,
        help="folder for the results, each under the name of its picture, and erased.csv",
    )
    group.add_argument("--again", action="store_true", help="erase also what a former run has already done")
    group.add_argument(
        "--overwrite", action="store_true", help="write over files in --out that are not of a former run"
    )


def add_method(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--method", choices=["yoeo", "eradiff"], required=True)
    group.add_argument(
        "--model",
        required=True,
        help="nano (the method's own), a checkpoint file, a diffusers folder, or a UNet over --base",
    )
    group.add_argument("--base", type=Path, help="what a UNet alone is laid over")
    group.add_argument("--steps", type=int, help="sampling steps; left out: 2 for yoeo, 12 for eradiff")
    group.add_argument("--seed", type=int, default=0, help="another seed gives another fill (%(default)s)")
    group.add_argument(
        "--grow", type=float, help="pixels of a 512 px crop by which masks are widened; left out: 5, with --raw 0"
    )
    group.add_argument(
        "--effects",
        action="store_true",
        help="grow each mask by the shadow around and under its object first, where one is found",
    )
    group.add_argument(
        "--context",
        type=float,
        help="how much of the surroundings to look at, as a fraction of the hole; left out: 0.5",
    )
    group.add_argument("--resolution", type=int, help="side in pixels that the model works at; left out: its own")
    group.add_argument("--strength", type=float, help="eradiff: share of the path that is walked; left out: 1")
    group.add_argument("--attention", choices=MODES, help="eradiff: what the hole looks at; left out: rectified")
    group.add_argument(
        "--softness",
        type=float,
        help="eradiff: how much the hole looks at itself after all, 0: not at all, 1: as plain attention; left out: 0",
    )
    group.add_argument(
        "--softness-rising", action="store_true", help="eradiff: --softness at full noise, and 1 at the end of the path"
    )
    group.add_argument(
        "--start",
        choices=STARTS,
        help="eradiff: where the path starts, at the original, or mixed: with as much of it as training had at "
        "that --strength, the rest a smooth fill; left out: original",
    )
    group.add_argument("--device", default="cpu", help="cpu, cuda, mps, ... (%(default)s)")
    group.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])


def add_choice(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--candidates", type=int, help="fills drawn of each hole, of which the best is kept; left out: 1"
    )
    group.add_argument("--detector", help="nano, a file or a folder: a Mask2Former that looks at what is left")
    group.add_argument(
        "--until-clean", action="store_true", help="draw again while the detector finds something in the hole"
    )
    group.add_argument("--tries", type=int, help=f"how often to draw at most with --until-clean; left out: {TRIES}")


def add_raw(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--raw",
        action="store_true",
        help="the network's answer for the whole picture: no crop, no original around the hole, no colour, no grain",
    )
    group.add_argument(
        "--squeeze", action="store_true", help="with --raw: the picture squeezed to a square of --resolution and back"
    )
    group.add_argument(
        "--official",
        action="store_true",
        help="with --raw, yoeo: as its authors do, the picture squeezed to the nearest of their shapes of about "
        "512 x 512 and back, the mask by its nearest pixels and not grown",
    )


def check(args: argparse.Namespace) -> None:
    """Raise ValueError for flags that do not go together or make no sense, FileNotFoundError for missing weights."""
    check_together(args)
    path_of(args)
    softness_of(args)
    for name, (least, end) in RANGES.items():
        if is_given(args, name) and not least <= getattr(args, name) < end:
            most = f" and less than {end}" if end < math.inf else ""
            raise ValueError(f"--{name} must be at least {least}{most}, got {getattr(args, name)}.")
    if (args.resolution or 0) % GRID:
        raise ValueError(f"--resolution must be a multiple of {GRID}, got {args.resolution}.")
    for name, path in weights_of(args).items():
        if not path.exists():
            raise FileNotFoundError(f"--{name}: there is no file or folder {path}.")
    try:
        torch.zeros(1, device=args.device)
    except (RuntimeError, AssertionError) as err:  # the latter where torch was built without it
        raise ValueError(f"--device {args.device} cannot be used here: {str(err).splitlines()[0]}") from err


def check_together(args: argparse.Namespace) -> None:
    given = {name for name in vars(args) if is_given(args, name)}
    for method, names in ONLY.items():
        foreign = sorted(names & given) if args.method != method else []
        if foreign:
            flag = foreign[0].replace("_", "-")
            raise ValueError(f"--{flag} is {method}'s: leave it out with --method {args.method}.")
    for name, other in (("squeeze", "raw"), ("official", "raw"), ("until_clean", "detector"), ("tries", "until_clean")):
        if name in given and other not in given:
            raise ValueError(f"--{name} needs --{other}: give both or none.".replace("_", "-"))
    if "raw" in given and given & set(NEEDS_CROPS):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in NEEDS_CROPS if name in given)
        raise ValueError(f"--raw takes the network's one answer for the whole picture: leave out {names}.")
    if "official" in given and given & set(OTHER_SIZES):
        names = ", ".join(f"--{name}" for name in OTHER_SIZES if name in given)
        raise ValueError(f"--official works at the authors' sizes with the mask as it is: leave out {names}.")
    if {"raw", "resolution"} <= given and "squeeze" not in given:
        raise ValueError("--raw works at the picture's own size: give --squeeze to work at --resolution.")


def is_given(args: argparse.Namespace, name: str) -> bool:
    """Whether a flag was given at all; 0 is a value."""
    return getattr(args, name) is not None and getattr(args, name) is not False


def path_of(args: argparse.Namespace) -> torch.Tensor:
    """The noise levels that the steps and the strength ask for.  Raises ValueError where they ask for none."""
    given = {name: getattr(args, name) for name in ("steps", "strength") if is_given(args, name)}
    return yoeo_path(**given) if args.method == "yoeo" else eradiff_path(**given)


def softness_of(args: argparse.Namespace) -> Softness:
    """What the attention lets through.  Raises ValueError for a number outside [0, 1]."""
    return Softness(args.softness or 0.0, args.softness_rising)


def weights_of(args: argparse.Namespace) -> dict[str, Path]:
    """Where the weights that are asked for lie, by flag."""
    model = BUILT_IN[NANO_OF[args.method]] if args.model == "nano" else Path(args.model)
    detector = NANO_DETECTOR if args.detector == "nano" else args.detector and Path(args.detector)
    return {name: path for name, path in (("model", model), ("base", args.base), ("detector", detector)) if path}


def settings_of(args: argparse.Namespace) -> str:
    """The flags that shape a result as one would type them, with the weights' size and time."""
    given = {name.replace("_", "-"): getattr(args, name) for name in SHAPING if is_given(args, name)}
    flags = [f"--{name}" if value is True else f"--{name} {value}" for name, value in given.items()]
    return " ".join(flags + [f"({name} {stamp(path)})" for name, path in weights_of(args).items()])
