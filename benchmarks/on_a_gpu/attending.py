"""What Self-Rectifying Attention costs on a card: a UNet's step and each level's attention, at two sizes."""

import argparse

import torch

from benchmarks.interleaved import Ratio
from benchmarks.on_a_gpu.book import Book
from benchmarks.on_a_gpu.networks import config_of
from benchmarks.sra_ratio import Level, levels_of, of_a_level
from benchmarks.sra_step import of_a_step
from benchmarks.sra_ways import SHARES, WAYS

SIDES, SMALL_SIDES = (512, 1024), (64, 128)  # px
TURNS, SMALL_TURNS = 15, 2


def attending(book: Book) -> None:
    """Ratios to plain attention, whose kernel on a card is FlashAttention's in half precision."""
    small, device = book.setting.small, book.setting.device
    sides, turns = (SMALL_SIDES, SMALL_TURNS) if small else (SIDES, TURNS)
    dtype = str(book.setting.dtypes[0]).removeprefix("torch.")
    args = argparse.Namespace(device=device, dtype=dtype, turns=turns, steps=turns, heads=99, ways=WAYS)
    config = config_of(book.setting)
    for side in sides:
        for share in SHARES[-1:] if small else SHARES:
            hole = f"{side} px, hole {share:.0%}"
            book.enter(f"a step, {hole}", lambda at=(side, share): said(of_a_step(config, *at, args)))
            for level in levels_of(config, side):
                at = (level, share)
                book.enter(f"{named(level)}, {hole}", lambda at=at: said(of_a_level(*at, args)))
    if device.type == "cuda":
        book.enter("kernel", lambda: {"FlashAttention": flash(torch.device(device))})


def said(found: dict[str, Ratio]) -> dict:
    """A median with its quartiles, under each way's name."""
    return {name: value for way, ratio in found.items() if way != "off" for name, value in numbers(way, ratio)}


def numbers(way: str, ratio: Ratio) -> tuple[tuple[str, float], ...]:
    return (way, ratio.median), (f"{way}, low", ratio.low), (f"{way}, high", ratio.high)


def named(level: Level) -> str:
    return f"{level.side} x {level.side}, {level.heads} x {level.width}, {level.layers} layers"


def flash(device: torch.device) -> bool:
    """Whether this card and this torch have that kernel for such tokens."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    qkv = torch.randn(3, 1, 5, 4096, 64, device=device, dtype=torch.float16)
    try:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            torch.nn.functional.scaled_dot_product_attention(*qkv)
    except RuntimeError:
        return False
    return True
