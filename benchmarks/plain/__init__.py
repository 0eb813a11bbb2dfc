"""Stable Diffusion's networks: diffusers' where it is installed, the same in torch alone where it is not."""

from importlib.util import find_spec

from torch import nn

from benchmarks.plain.autoencoder import PlainAutoencoder, PlainTinyAutoencoder
from benchmarks.plain.unet import PlainUNet
from inpainting_core import engine
from inpainting_core.architecture import UNetShape, VAEShape

HAS_DIFFUSERS = find_spec("diffusers") is not None


def build_unet(shape: UNetShape, plain: bool = not HAS_DIFFUSERS) -> nn.Module:
    """A UNet of the given shape with fresh weights."""
    return PlainUNet(shape) if plain else engine.build_unet(shape)


def build_vae(shape: VAEShape, plain: bool = not HAS_DIFFUSERS) -> nn.Module:
    """An autoencoder of the given shape with fresh weights."""
    if not plain:
        return engine.build_vae(shape)
    return PlainTinyAutoencoder() if shape.kind == "tiny" else PlainAutoencoder(shape)
