"""Make the pictures that the template browser shows: each example graph's own before and after.

    COMFYUI_PATH=/path/to/ComfyUI python -m workflows.thumbnails           # all of them, a minute on two CPU cores
    COMFYUI_PATH=/path/to/ComfyUI python -m workflows.thumbnails many_objects

The left half is what goes in, the right half what comes out.  The graph for a stock checkpoint, which does not come
with the pack, runs here with the built-in nano in its place.
"""

import asyncio
import io
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageFilter

from workflows.client import Client, saved_pictures, with_mask
from workflows.comfyui import lay_out, serving
from workflows.convert import fill_in, to_prompt

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "assets" / "pictures"
HALF = (254, 512)  # pixels; with a line of 4 between the halves the thumbnail is a square of 512
SHOWN = {  # a photograph, and the part of it that is shown: left, top, right, bottom
    "erase_yoeo": ("wren", (226, 0, 406, 360)),
    "erase_eradiff": ("satellite", (275, 0, 491, 432)),
    "erase_check_retry": ("rocket", (227, 5, 437, 425)),
    "many_objects": ("satellite", (295, 60, 475, 420)),
    "crop_stitch_second_pass": ("wren", (226, 0, 442, 432)),
    "sra_stock_sampler": ("satellite", (295, 60, 475, 420)),
}
WHOLE = {"sra_stock_sampler": (192, 384)}  # shows the model the whole picture: only the part, at the nano's size


async def main(names: list[str], address: str, folder: Path) -> None:
    """Runs the graphs and writes ``workflows/NAME.jpg`` for each."""
    async with Client(address) as client:
        info = await client.object_info()
        for name in names:
            picture, part = prepared(name, folder)
            prompt = with_nano(to_prompt(json.loads((ROOT / "workflows" / f"{name}.json").read_text()), info))
            fill_in(prompt, "LoadImage", image=await client.upload(picture.read_bytes(), f"{name}.png"))
            (saved,) = saved_pictures(await client.run(prompt))
            after = Image.open(io.BytesIO(await client.view(saved)))
            thumbnail = side_by_side(Image.open(picture).convert("RGB").crop(part), after.crop(part))
            thumbnail.save(ROOT / "workflows" / f"{name}.jpg", quality=85)
            print(f"workflows/{name}.jpg")


def with_nano(prompt: dict) -> dict:
    """The prompt with the built-in nano where it asks for a stock checkpoint and its empty text."""
    places = {"CheckpointLoaderSimple": {0: 0, 2: 1}, "CLIPTextEncode": {0: 2}}
    swapped = {id: places[node["class_type"]] for id, node in prompt.items() if node["class_type"] in places}
    if not swapped:
        return prompt
    nano = {"class_type": "EraseOnceLoadModel", "inputs": {"model": "nano EraDiff (built in)", "unet": "none"}}
    kept = {id: node for id, node in prompt.items() if id not in swapped}
    for node in kept.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list) and value[0] in swapped:
                node["inputs"][name] = ["nano", swapped[value[0]][value[1]]]
    return {**kept, "nano": nano}


def prepared(name: str, folder: Path) -> tuple[Path, tuple[int, int, int, int]]:
    """A graph's photograph with its mask in the alpha, and the part of it that is shown."""
    photo, part = SHOWN[name]
    picture, mask = (Image.open(PICTURES / file) for file in (f"{photo}.jpg", f"{photo}_mask.png"))
    if name in WHOLE:
        picture, mask = (one.crop(part).resize(WHOLE[name]) for one in (picture, mask))
        mask = mask.filter(ImageFilter.MaxFilter(15))  # as one paints it: no node of this graph widens it
        part = (0, 0, *WHOLE[name])
    picture.save(folder / "picture.png")
    mask.save(folder / "mask.png")
    (folder / f"{name}.png").write_bytes(with_mask(folder / "picture.png", folder / "mask.png"))
    return folder / f"{name}.png", part


def side_by_side(before: Image.Image, after: Image.Image) -> Image.Image:
    """Two pictures of one size as the halves of a square."""
    square = Image.new("RGB", (512, 512), "white")
    square.paste(before.resize(HALF), (0, 0))
    square.paste(after.resize(HALF), (512 - HALF[0], 0))
    return square


if __name__ == "__main__":
    with TemporaryDirectory() as base:
        comfyui = Path(os.environ["COMFYUI_PATH"])
        with serving(comfyui, Path(sys.executable), lay_out(Path(base), ROOT), "--cpu") as server:
            asyncio.run(main(sys.argv[1:] or list(SHOWN), server.address, Path(base)))
