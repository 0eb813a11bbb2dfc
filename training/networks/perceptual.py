"""Perceptual distances by name, frozen: what LPIPS terms and tables are measured with."""

from collections.abc import Callable

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
    """A distance of two pictures in [-1, 1], ``[b, 3, h, w]`` each -> ``[b, 1, 1, 1]``."""
    return DISTANCES[name]().eval().requires_grad_(False)
