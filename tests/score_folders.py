"""A small set of pictures by the folder rule, with results of two methods."""

from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 32
BOX = (slice(10, 22), slice(16, 34))


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def make_set(root: Path, count: int = 4, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """``SET/input``, ``mask``, ``truth``; results "near" (a little noise) and "grey" in ``near`` and ``grey``."""
    rng = np.random.default_rng(0)
    mask = np.zeros(size, np.uint8)
    mask[BOX] = 255
    for i in range(count):
        truth = rng.integers(0, 200, (*size, 3), dtype=np.uint8)
        filled = {"input": (230, 20, 20), "grey": (128, 128, 128), "near": truth[BOX] + rng.integers(0, 9 * (i + 1))}
        save(root / f"set/truth/a/p{i}.png", truth)
        save(root / f"set/mask/a/p{i}.png", mask)
        for name, fill in filled.items():
            pixels = truth.copy()
            pixels[BOX] = fill
            save(root / (f"set/{name}/a/p{i}.png" if name == "input" else f"{name}/a/p{i}.png"), pixels)
    return root


def flags(root: Path, *more: str) -> list[str]:
    """The quickest scoring of both methods; what comes later takes the place of the earlier."""
    results = [f"near={root / 'near'}", f"grey={root / 'grey'}"]
    where = ["--set", str(root / "set"), "--out", str(root / "out"), "--results", *results]
    return [*where, "--metrics", "fidelity", *more]
