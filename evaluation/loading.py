"""Flags to metrics: those that can be found here, and for each other one what it needs."""

import argparse
from collections.abc import Callable

import torch

from evaluation import context, fidelity, likeness, perceptual, regional_coherence, sundries
from evaluation.scorer import Absent, Comparison, Scorer

Loader = Callable[[argparse.Namespace], Scorer | list[Comparison]]
LOADERS: dict[str, Loader] = {
    "fidelity": lambda args: fidelity.fidelity(),
    "lpips": lambda args: perceptual.lpips(args.device, args.trunk),
    "stlpips": lambda args: perceptual.stlpips(args.device, args.trunk),
    "sundries": lambda args: sundries.sundries(args.detector, args.device),
    "cfd": lambda args: context.context_deviation(args.dinov2, args.sam, args.device),
    "remove": lambda args: context.remove_score(args.sam, args.device),
    "rc_s": lambda args: regional_coherence.regional_coherence(args.dinov2, args.device),
    "fid": lambda args: likeness.inception(args.device),
    "fid_torchvision": lambda args: likeness.inception_of_torchvision(args.device),
    "cmmd": lambda args: likeness.clip(args.clip, args.device),
}
ABOUT = {
    "fidelity": "PSNR and SSIM: the whole picture, the hole, outside",
    "sundries": "MSN and MARS",
    "fid": "FID, Local FID and KID with pytorch-fid's network",
    "fid_torchvision": "FID and Local FID with torchvision's",
}


def load_metrics(args: argparse.Namespace) -> tuple[list[Scorer], list[Comparison], dict[str, str]]:
    """The metrics that were asked for, and why those that are missing are: name -> a sentence with the line to type.

    Raises ValueError or OSError for weights that were named and cannot be read: they are not absent but wrong.
    """
    check_device(args.device)
    scorers, comparisons, absent = [], [], {}
    for name in args.metrics:
        try:
            loaded = LOADERS[name](args)
        except Absent as err:
            absent[name] = str(err)
            continue
        if isinstance(loaded, Scorer) and loaded.needs_truth and args.truths is None:
            absent[name] = "needs the truth. Give --truths DIR."
        elif isinstance(loaded, Scorer):
            scorers.append(loaded)
        else:
            comparisons += loaded
    return scorers, comparisons, absent


def check_device(device: str) -> None:
    """Raise ValueError for a device that torch cannot use here."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as err:  # the latter where torch was built without it
        raise ValueError(f"--device {device} cannot be used here: {str(err).splitlines()[0]}") from err
