"""Find each picture's primary object once and store its alpha beside it: what EraDiff's training pastes again.

    python -m training.prepare_mattes --images photos --model facebook/mask2former-swin-large-coco-panoptic \\
        --device cuda
    python -m training.prepare_mattes --images photos --model facebook/sam-vit-base --device cuda
    python -m training.prepare_mattes --images train2017 --coco instances_train2017.json
    python -m training.prepare_mattes --images train2017 --panoptic panoptic_train2017.json \\
        --panoptic-masks panoptic_train2017
    python -m training.prepare_mattes --images train --open-images train-annotations-object-segmentation.csv \\
        --open-images-masks train-masks
    accelerate launch -m training.prepare_mattes --images photos --model ... --device cuda          # a card each

--model takes a local folder or hub name of any of transformers' own models for image segmentation (instance, panoptic,
semantic) or mask generation.  BiRefNet, RMBG and the like bring code of their own and are not among them: run them by
that code and store ``NAME_matte.png`` (8-bit grey, white = object) beside NAME.jpg; mattes that are there are
kept, verified and listed.

A killed run continues when it is started again, and whoever starts it a second time, here or on another machine that
sees the folder, shares the work.  ``mattes.csv`` lists every picture with its status, and where there is
no matte the reason: broken, too small, no usable object.  Delete it to have the refused ones tried again, for example
with another model.  A picture of a longer side over 4096 px gets the matte of its reduced version.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from training.data.annotated import instances_in
from training.data.annotations import ANNOTATIONS, Instance, add_arguments, annotations_of
from training.data.flag_values import share
from training.data.mattes import pairs_of, read_picture_and_matte
from training.data.preparing import Preparation
from training.data.primary_object import Limits, primary_object
from training.data.reading import Upright, as_stored, bounded_size
from training.data.refused import DONE, MATTES, REFUSED
from training.data.segmenters import Segmenter, load_segmenter
from training.data.sharing import is_first, own_device
from training.running.endings import run_script
from training.running.flags import add_debug_flag, add_labelling_flags, check_device, check_paths

MODEL_LONGEST = 1333  # px: what the segmenters were trained on at most; SAM's masks of a larger picture fill a memory

# some pictures of one size and their paths -> what is in each
Source = Callable[[list[Path], list[Upright]], list[Iterator[Instance]]]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    limits = Limits()
    # data
    parser.add_argument("--images", required=True, help="folder of pictures, searched to its depth")
    parser.add_argument("--out", help="folder for mattes and list, laid out like --images; left out: --images itself")
    # where the objects come from: one of these
    parser.add_argument("--model", help="a transformers checkpoint, folder or hub name")
    add_labelling_flags(parser)
    add_arguments(parser)
    # which of them is the primary one
    parser.add_argument("--least-score", type=share, default=limits.least_score, help="how sure, 0 to 1")
    parser.add_argument("--least-area", type=share, default=limits.least_area, help="share of the picture")
    parser.add_argument("--most-area", type=share, default=limits.most_area, help="share of the picture")
    parser.add_argument(
        "--most-border", type=share, default=limits.most_border, help="share of the picture's border that it touches"
    )
    parser.add_argument("--ignore", nargs="+", default=[], metavar="CATEGORY", help="names of what is no object: sky")
    add_debug_flag(parser)
    return parser.parse_args(argv)


def source_of(args: argparse.Namespace) -> Source:
    """Instances from the model or the annotations, whichever was given.  Raises ValueError for none or both."""
    annotations = annotations_of(args)
    if (annotations is None) == (args.model is None):
        raise ValueError(f"objects must come from --model or from annotations, got {'both' if args.model else 'none'}.")
    if annotations is None:
        return from_model(load_segmenter(args.model, own_device(args.device), args.least_score))
    return lambda paths, reads: [instances_in(annotations, *each) for each in zip(paths, reads, strict=True)]


def from_model(segment: Segmenter) -> Source:
    def reduced(picture: Image.Image) -> Image.Image:
        return picture.resize(bounded_size(picture.size, MODEL_LONGEST), reducing_gap=2.0)

    return lambda _, reads: segment([reduced(read.picture) for read in reads])


def soft_matte(mask: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A hard mask ``[h, w]`` as 8-bit alpha of ``size``: its edge is spread by one of its pixels to either side."""
    hard = Image.fromarray(mask.astype(np.uint8) * 255)
    return hard.filter(ImageFilter.BoxBlur(1)).resize(size, Image.Resampling.BILINEAR)


def find_matte(read: Upright, instances: Iterator[Instance], limits: Limits, ignored: set[str]) -> Image.Image:
    """The alpha of a picture's primary object at the picture's (bounded) size, as its pixels are stored.

    Raises Unusable with the reason.
    """
    wanted = (found for found in instances if found.category not in ignored)
    return as_stored(soft_matte(primary_object(wanted, limits).mask, read.picture.size), read.orientation)


def save_whole(matte: Image.Image, path: Path) -> None:
    """Write a PNG that is either there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    matte.save(scratch, format="PNG")
    scratch.replace(path)


def main(args: argparse.Namespace) -> None:
    check_paths(args, ("images", *ANNOTATIONS))  # --model may be a name on a hub
    check_device(args.device)
    images = Path(args.images)
    pairs = pairs_of(images, args.out)  # before any weight is loaded
    mattes = {picture.relative_to(images).as_posix(): matte for picture, matte in pairs}
    source, ignored = source_of(args), set(args.ignore)
    limits = Limits(args.least_score, args.least_area, args.most_area, args.most_border)

    def see(paths: list[Path], reads: list[Upright]) -> list[Callable[[], Image.Image]]:
        found = zip(reads, source(paths, reads), strict=True)
        return [partial(find_matte, read, instances, limits, ignored) for read, instances in found]

    def save(path: Path, matte: Image.Image) -> None:
        save_whole(matte, mattes[path.relative_to(images).as_posix()])

    table = Path(args.out or args.images) / MATTES
    batch = args.batch_size if args.model else 1
    preparation = Preparation(images, mattes, "matte", see, save, read_picture_and_matte, batch)
    counts = preparation.share_out(table)
    if is_first():
        print(f"{counts[DONE]} mattes, {counts[REFUSED]} pictures refused: {table} names each")


if __name__ == "__main__":
    run_script(parse_args, main)
