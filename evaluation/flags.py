"""The flags by which every script here is told where pictures, masks, truths and effect masks lie."""

import argparse
from pathlib import Path

from evaluation.folders import SET


def add_set(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--set", type=Path, help="a folder with input, mask, and perhaps truth and effect; or instead:")
    group.add_argument("--pictures", type=Path, help="folder of the pictures with the object")
    group.add_argument("--masks", type=Path, help="folder of masks, white where to erase")
    group.add_argument("--truths", type=Path, help="folder of the pictures without the object")
    group.add_argument("--effects", type=Path, help="folder of masks of shadows and reflections that may go too")
    group.add_argument("--boxes", type=Path, help="table of annotated boxes for Local FID; left out: the masks' boxes")


def settle_set(parser: argparse.ArgumentParser, args: argparse.Namespace) -> argparse.Namespace:
    """The folders of ``--set`` where none is given by itself."""
    for name, folder in SET.items() if args.set else ():
        present = name in ("pictures", "masks") or (args.set / folder).is_dir()
        if getattr(args, name) is None and present:
            setattr(args, name, args.set / folder)
    if args.set and args.boxes is None and (args.set / "boxes.csv").is_file():
        args.boxes = args.set / "boxes.csv"
    if args.pictures is None or args.masks is None:
        parser.error("give --set, or --pictures and --masks.")
    return args


def named_folder(text: str) -> tuple[str, Path]:
    """NAME=DIR, as results are given."""
    name, sign, folder = text.partition("=")
    if not (name and sign and folder):
        raise argparse.ArgumentTypeError(f"give NAME=DIR, got {text}")
    return name, Path(folder)
