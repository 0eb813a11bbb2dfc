"""How a set makes samples of pictures: which it takes, in which shapes, and what it makes up where pictures are few.

What is off by default is no part of the papers.  The built-in nano was trained on a few hundred photographs without
labels, and needs all of it.
"""

import argparse
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from inpainting_core.buckets import Shape, shapes_of_area
from training.data.flag_values import natural, share

UNLABELLED = ("refused", "drawn")
LATER = ("poor_masks", "effects")  # pools that were made before there were such still fit where they are off


@dataclass(frozen=True)
class Recipe:
    """``unlabelled``: pictures without an entity map are refused, or have things drawn into them.

    One picture in ``smooth_every`` is a procedural smooth surface, 0: none.  ``colour_jitter`` shows pictures in other
    lights, ``drawn_shapes`` makes holes of drawn blobs rather than of another picture's entities.  ``squares``: views
    are squares, not of the shape nearest to their picture's.  ``left_out`` is a csv of pictures that turned bad.
    ``poor_masks`` is the share of things' masks (D2, and EraDiff's) that are made poor (``training.data.poor_masks``),
    ``effects`` that of the pictures in which things have shadows and reflections (``training.data.effects``).
    """

    unlabelled: str = "refused"
    smooth_every: int = 0
    colour_jitter: bool = False
    drawn_shapes: bool = False
    squares: bool = False
    left_out: Path | None = None
    poor_masks: float = 0.0
    effects: float = 0.0

    def shapes(self, size: int) -> list[Shape]:
        """Of the views of a training at this size."""
        return [(size, size)] if self.squares else shapes_of_area(size)

    def facts(self) -> dict[str, object]:
        """What the samples depend on."""
        facts = {key: value for key, value in asdict(self).items() if key != "left_out"}
        return {key: value for key, value in facts.items() if value or key not in LATER}

    def as_judged(self) -> "Recipe":
        """The recipe of held-out samples: what is made worse or harder in training is not, so that runs compare."""
        return replace(self, poor_masks=0.0, effects=0.0)


ENTITIES_BESIDE = "NAME_entities.png beside NAME is its id map"
PUBLISHED = Recipe()  # the papers' own: nothing made up
NANO_RECIPE = Recipe(unlabelled="drawn", smooth_every=10, colour_jitter=True, drawn_shapes=True, squares=True)
NANO_FLAGS = "--unlabelled drawn --smooth-every 10 --colour-jitter --drawn-shapes --squares"
NANO_PAIRS_FLAGS = "--smooth-every 10 --colour-jitter"  # of EraDiff's script, whose pairs have no holes to shape


def add_images_flags(parser: argparse.ArgumentParser, beside: str) -> None:
    """The pictures that are trained on and those that are judged by; ``beside`` says what lies beside each."""
    parser.add_argument("--images", required=True, help=f"folder of pictures, or shards; {beside}")
    parser.add_argument("--validation", help="pictures never trained on; sheets and numbers come from them")


def add_recipe_flags(parser: argparse.ArgumentParser) -> None:
    """What YOEO's sets and the detector's ask for."""
    add_picture_flags(parser)
    parser.add_argument(
        "--unlabelled",
        choices=UNLABELLED,
        default="refused",
        help="pictures without an entity map: left out, or things are drawn into them (%(default)s)",
    )
    parser.add_argument("--drawn-shapes", action="store_true", help="holes like drawn blobs, not like other entities")
    parser.add_argument("--squares", action="store_true", help="square views; left out: the nearest shape of that area")


def add_picture_flags(parser: argparse.ArgumentParser) -> None:
    """What every set asks for."""
    parser.add_argument(
        "--smooth-every", type=natural, default=0, help="one picture in so many is a plain surface; 0: off"
    )
    parser.add_argument("--colour-jitter", action="store_true", help="pictures in other lights")


def add_effects_flag(parser: argparse.ArgumentParser) -> None:
    """Of the sets that erasers train on."""
    parser.add_argument(
        "--effects", type=share, default=0.0, help="share of pictures whose things cast shadows, ... (%(default)s)"
    )


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The recipe that a script's flags ask for; pictures that turn bad are listed in the run folder."""
    return Recipe(
        unlabelled=getattr(args, "unlabelled", "refused"),
        smooth_every=args.smooth_every,
        colour_jitter=args.colour_jitter,
        drawn_shapes=getattr(args, "drawn_shapes", False),
        squares=getattr(args, "squares", True),
        left_out=Path(args.out) / "left_out.csv",
        poor_masks=getattr(args, "poor_masks", 0.0),
        effects=getattr(args, "effects", 0.0),
    )
