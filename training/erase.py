"""Erase a folder of pictures without ComfyUI.

    python -m training.erase --method yoeo --model nano --images photos --masks masks --out erased
    python -m training.erase --method eradiff --model sd2_inpaint.safetensors --device cuda \\
        --images photos --masks masks --out erased
    python -m training.erase --method yoeo --model yoeo_unet.bin --base sd15_inpaint.safetensors \\
        --images photos --masks masks --out erased

The mask of ``photos/dog.jpg`` is ``masks/dog.png`` or ``masks/dog_mask.png``, white where to erase.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from eradiff_core import pipeline as eradiff
from inpainting_core.built_in import BUILT_IN, NANO_OF
from inpainting_core.engine import load_engine
from training.data.pictures import list_pictures, read_rgb, to_tensor
from yoeo_core import pipeline as yoeo


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=["yoeo", "eradiff"], required=True)
    parser.add_argument(
        "--model",
        required=True,
        help="nano (the method's own), a checkpoint file, a diffusers folder, or a UNet over --base",
    )
    parser.add_argument("--base", help="what a UNet alone is laid over")
    parser.add_argument("--images", required=True, help="folder of pictures")
    parser.add_argument("--masks", required=True, help="folder of masks, white where to erase")
    parser.add_argument("--out", required=True, help="folder for the results, NAME.png each")
    parser.add_argument("--steps", type=int, help="sampling steps; left out: 2 for yoeo, 12 for eradiff")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grow", type=float, default=5, help="pixels (of a 512 px crop) by which masks are widened")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps, ...")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    return parser.parse_args(argv)


def pairs(images: str | Path, masks: str | Path) -> list[tuple[Path, Path]]:
    """Every picture with its mask.  Raises FileNotFoundError for the first picture without one."""
    found = []
    for path in list_pictures(images):
        candidates = [Path(masks) / f"{path.stem}{ending}" for ending in (".png", "_mask.png")]
        mask = next((candidate for candidate in candidates if candidate.exists()), None)
        if mask is None:
            raise FileNotFoundError(
                f"every picture needs a mask, got none for {path.name}: {candidates[0].name} is missing."
            )
        found.append((path, mask))
    return found


def method(args: argparse.Namespace) -> Callable[[Tensor, Tensor], Tensor]:
    """The chosen eraser as a function of a picture ``[1, 3, h, w]`` and its mask ``[1, 1, h, w]``."""
    path = BUILT_IN[NANO_OF[args.method]] if args.model == "nano" else args.model
    engine = load_engine(path, args.base, args.device, getattr(torch, args.dtype))
    erase = {"yoeo": yoeo.erase, "eradiff": eradiff.erase}[args.method]
    steps = {"steps": args.steps} if args.steps else {}
    erase = partial(erase, engine, seed=args.seed, grow_px=args.grow, **steps)
    return lambda image, mask: erase(image, mask).image


def main(args: argparse.Namespace) -> None:
    work = pairs(args.images, args.masks)
    erase = method(args)
    Path(args.out).mkdir(parents=True, exist_ok=True)
    for path, mask_path in tqdm(work):
        with Image.open(mask_path) as mask:
            hole = to_tensor(mask.convert("RGB"))[:1]
        erased = erase(to_tensor(read_rgb(path))[None], hole[None])[0]
        pixels = (erased * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        Image.fromarray(pixels).save(Path(args.out) / f"{path.stem}.png")


if __name__ == "__main__":
    main(parse_args())
