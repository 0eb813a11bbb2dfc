"""An eraser as the flags ask for it: a picture and its mask in, what became of it and a sentence about it out."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from eradiff_core import pipeline as eradiff
from inpainting_core.choosing import Judge
from inpainting_core.engine import load_engine
from inpainting_core.erasing import Erased
from training.erasing.flags import TRIES, is_given, path_of, softness_of, weights_of
from yoeo_core import pipeline as yoeo
from yoeo_core.detector import load_detector
from yoeo_core.judge import judge_by

PIPELINES = {"yoeo": yoeo, "eradiff": eradiff}


@dataclass(frozen=True)
class Eraser:
    """``erase`` takes a picture ``[1, 3 or 4, h, w]`` in [0, 1] and its mask ``[1, 1, h, w]``, 1 where to erase.

    ``steps`` is how many it samples, ``judged`` whether a detector has looked at what it drew, and ``effects`` whether
    a mask is to grow by its object's shadow first.
    """

    erase: Callable[[Tensor, Tensor], Erased]
    steps: int
    judged: bool
    effects: bool = False


def load_eraser(args: argparse.Namespace) -> Eraser:
    """Load the weights.  Raises ValueError or OSError for what cannot be read or does not go together."""
    engine = load_engine(weights_of(args)["model"], args.base, args.device, getattr(torch, args.dtype))
    pipeline, judge, steps = PIPELINES[args.method], load_judge(args), len(path_of(args)) - 1
    asked = given(args, "steps", "seed", "strength", "attention", "start", grow="grow_px")
    if args.method == "eradiff":
        asked["softness"] = softness_of(args)
    if args.official:
        return Eraser(partial(yoeo.official, engine, **asked), steps, False, args.effects)
    if args.raw:
        resolution = (args.resolution or engine.resolution) if args.squeeze else None
        return Eraser(partial(pipeline.raw, engine, resolution=resolution, **asked), steps, False, args.effects)
    asked |= given(args, "context", "resolution", "candidates")
    tries = (args.tries or TRIES) if args.until_clean else 1
    erase = partial(pipeline.erase, engine, judge=judge, tries=tries, **asked)
    return Eraser(erase, steps, judge is not None, args.effects)


def given(args: argparse.Namespace, *names: str, **renamed: str) -> dict:
    """The flags that were given, as a pipeline names them; what was left out has its default there."""
    called = {name: name for name in names} | renamed
    return {called[name]: getattr(args, name) for name in called if is_given(args, name)}


def load_judge(args: argparse.Namespace) -> Judge | None:
    path = weights_of(args).get("detector")
    if path is None:
        return None
    detector = load_detector(path, args.device)
    return judge_by(lambda picture: detector(picture.to(args.device)))
