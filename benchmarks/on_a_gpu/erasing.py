"""Seconds and memory of an erasure by a network of full size, as the pipelines do it and as the sum of its parts."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.on_a_gpu.book import Book
from benchmarks.on_a_gpu.networks import engine_of
from eradiff_core import pipeline as eradiff
from inpainting_core.engine import DiffusersEngine, call_unet
from inpainting_core.latents import masked_picture
from yoeo_core import pipeline as yoeo

HOLE = 0.15  # of the picture


def erasing(book: Book) -> None:
    """YOEO in 2 steps and EraDiff in 12 of one picture at the network's own size, in each half precision."""
    for dtype in book.setting.dtypes:
        name, engines = str(dtype).removeprefix("torch."), []
        book.enter(f"network, {name}", lambda dtype=dtype, engines=engines: built(book, dtype, engines))
        for engine in engines:
            image, mask = scene(engine.resolution)
            for method, ways in ways_of(engine, image, mask).items():
                for way, call in ways.items():
                    book.enter(f"{method}, {way}, {name}", lambda call=call: measured(book, call))


def built(book: Book, dtype: torch.dtype, engines: list[DiffusersEngine]) -> dict:
    engines.append(engine_of(book.setting, dtype))
    unet, vae = (sum(weight.numel() for weight in part.parameters()) for part in (engines[0].unet, engines[0].vae))
    return {"millions": (unet + vae) / 1e6, "of the UNet": unet / 1e6}


def scene(side: int) -> tuple[Tensor, Tensor]:
    """A picture of noise and a square hole in it."""
    image, mask = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)), torch.zeros(side, side)
    start, long = side // 4, round(HOLE**0.5 * side)
    mask[start : start + long, start : start + long] = 1
    return image, mask


def ways_of(engine: DiffusersEngine, image: Tensor, mask: Tensor) -> dict[str, dict[str, Callable[[], object]]]:
    """``whole`` is all that the node does, ``network`` its answer for the whole picture, ``parts`` the bare calls."""
    return {
        "YOEO, 2 steps": {
            "whole": lambda: yoeo.erase(engine, image, mask),
            "network": lambda: yoeo.raw(engine, image, mask),
            "parts": lambda: parts(engine, image, mask, steps=2, encodings=1),
        },
        "EraDiff, 12 steps": {
            "whole": lambda: eradiff.erase(engine, image, mask),
            "network": lambda: eradiff.raw(engine, image, mask),
            "network without SRA": lambda: eradiff.raw(engine, image, mask, attention="off"),
            "parts": lambda: parts(engine, image, mask, steps=12, encodings=2),
        },
    }


@torch.no_grad()
def parts(engine: DiffusersEngine, image: Tensor, mask: Tensor, steps: int, encodings: int) -> Tensor:
    """Encode, call the UNet and decode, and nothing else."""
    for _ in range(encodings):
        masked = engine.encode(masked_picture(image, mask[None, None]))
    fed = torch.randn(1, engine.config.unet.in_channels, *masked.shape[-2:], device=engine.device, dtype=engine.dtype)
    for t in torch.linspace(999, 99, steps, device=engine.device).long():
        output = call_unet(engine.unet, fed, t[None], engine.prompt)
    return engine.decode(output.float()).cpu()


def measured(book: Book, call: Callable[[], object]) -> dict:
    return {"seconds": book.timed(call), "peak GB": book.peak_gb(call)}
