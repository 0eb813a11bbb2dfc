"""Perceptual distances by name, frozen: what LPIPS terms and tables are measured with."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn


def _lpips(trunk: str) -> nn.Module:
    """The original LPIPS (Zhang et al. 2018); its trunk is downloaded by torchvision the first time."""
    from lpips import LPIPS

    return LPIPS(net=trunk, verbose=False)


def _stlpips(trunk: str) -> nn.Module:
    """The shift-tolerant LPIPS (Ghildyal & Liu 2022), whose package carries its weights: nothing is downloaded."""
    from stlpips_pytorch.stlpips import LPIPS

    return LPIPS(net=trunk, variant="shift_tolerant", verbose=False)


DISTANCES: dict[str, Callable[[], nn.Module]] = {
    "lpips_vgg": lambda: _lpips("vgg"),
    "lpips_alex": lambda: _lpips("alex"),
    "stlpips_vgg": lambda: _stlpips("vgg"),
    "stlpips_alex": lambda: _stlpips("alex"),
}


def perceptual_net(name: str) -> nn.Module:
    """A distance of two pictures in [-1, 1], ``[b, 3, h, w]`` each -> ``[b, 1, 1, 1]``.

    Raises ValueError where its weights are neither on this machine nor to be had.
    """
    try:
        return DISTANCES[name]().eval().requires_grad_(False)
    except (OSError, RuntimeError, EOFError) as error:  # no network; a file that is not the one it should be
        url, folder = trunk_url(name), Path(torch.hub.get_dir()) / "checkpoints"
        raise ValueError(
            f"--perceptual {name} needs {url.rpartition('/')[2]}, which is not whole in {folder} and could not be "
            f"fetched ({error}): download {url} into that folder, or give --perceptual stlpips_alex, whose weights "
            "come with its package."
        ) from error


def trunk_url(name: str) -> str:
    """Where torchvision has the weights of a distance's trunk."""
    from torchvision.models import AlexNet_Weights, VGG16_Weights

    return (VGG16_Weights if name.endswith("vgg") else AlexNet_Weights).IMAGENET1K_V1.url
