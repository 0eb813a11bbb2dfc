"""The flags of EraDiff's pairs: what a copy of an object may look like, and how its hole is made."""

import argparse

from eradiff_core.synthesis import Ranges
from training.data.flag_values import above_zero, natural, not_negative, positive, share


def add_synthesis_flags(parser: argparse.ArgumentParser) -> None:
    """Those of ``Ranges``."""
    usual = Ranges()
    two = {"nargs": 2, "metavar": ("LOW", "HIGH")}
    parser.add_argument(
        "--copies", type=positive, default=usual.copies[1], help="at most so many of a picture's object"
    )
    parser.add_argument("--scale", type=above_zero, default=usual.scale, help="of a copy %(default)s", **two)
    parser.add_argument(
        "--turn", type=not_negative, default=usual.turn_deg, help="of a copy, at most; degrees (%(default)s)"
    )
    parser.add_argument(
        "--largest", type=above_zero, default=usual.largest, help="copy, of the shorter side (%(default)s)"
    )
    parser.add_argument("--overlap", type=share, default=usual.overlap, help="of a copy with others (%(default)s)")
    parser.add_argument("--grow", type=natural, default=usual.grow_px, help="of the hole; px %(default)s", **two)
    parser.add_argument("--boxes", type=share, default=usual.boxes, help="share of holes that are boxes (%(default)s)")
    parser.add_argument("--loose", type=share, default=usual.loose, help="share that reach far beyond (%(default)s)")


def ranges_of(args: argparse.Namespace) -> Ranges:
    """What ``add_synthesis_flags`` was told.  Raises ValueError for a range that falls."""
    for name, (low, high) in {"scale": args.scale, "grow": args.grow}.items():
        if low > high:
            raise ValueError(f"--{name} must be given from low to high, got {low} {high}.")
    return Ranges(
        copies=(1, args.copies),
        scale=tuple(args.scale),
        turn_deg=args.turn,
        largest=args.largest,
        overlap=args.overlap,
        grow_px=tuple(args.grow),
        boxes=args.boxes,
        loose=args.loose,
    )
