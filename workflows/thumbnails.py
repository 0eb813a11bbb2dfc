"""Make the pictures that the template browser shows: each example graph's own before and after.

    COMFYUI_PATH=/path/to/ComfyUI python -m workflows.thumbnails           # all of them, a minute on two CPU cores
    COMFYUI_PATH=/path/to/ComfyUI python -m workflows.thumbnails many_objects

The left half is what goes in, the right half what comes out, both cut from the strip that every graph shows.
"""

import asyncio
import io
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from workflows.client import Client
from workflows.comfyui import lay_out, serving
from workflows.convert import to_prompt

ROOT = Path(__file__).resolve().parent.parent
HALF = (254, 512)  # pixels; with a line of 4 between the halves the thumbnail is a square of 512
STRIP = "Before and after"  # the title of the node that shows it
LINE = 8  # pixels between the strip's halves
SHOWN = {  # the part of the photograph that is shown: left, top, right, bottom
    "erase_yoeo": (226, 0, 406, 360),
    "erase_eradiff": (275, 0, 491, 432),
    "erase_check_retry": (227, 5, 437, 425),
    "generate_erase_check_upscale": (227, 5, 437, 425),
    "many_objects": (170, 15, 376, 427),
    "crop_stitch_second_pass": (226, 0, 442, 432),
    "sra_stock_sampler": (295, 60, 475, 420),
    "video_one_mask": (206, 0, 422, 432),
    "words_boxes_points_sam3": (250, 40, 430, 400),
    "sra_flux_fill": (295, 60, 475, 420),
}
# Where the user's files are missing: the given mask of the same bird instead of SAM 3's, and the nano instead of FLUX.
SAME_AS = {"words_boxes_points_sam3": "erase_yoeo", "sra_flux_fill": "sra_stock_sampler"}


async def main(names: list[str], address: str) -> None:
    """Runs the graphs and writes ``workflows/NAME.jpg`` for each."""
    async with Client(address) as client:
        info = await client.object_info()
        for name in names:
            graph = json.loads((ROOT / "workflows" / f"{SAME_AS.get(name, name)}.json").read_text())
            prompt = to_prompt(graph, info)
            (node,) = [id for id, content in prompt.items() if content["_meta"]["title"] == STRIP]
            (shown,) = (await client.run(prompt))[node]["images"]
            thumbnail = side_by_side(*halves(Image.open(io.BytesIO(await client.view(shown))), SHOWN[name]))
            thumbnail.save(ROOT / "workflows" / f"{name}.jpg", quality=85)
            print(f"workflows/{name}.jpg")


def halves(strip: Image.Image, part: tuple[int, int, int, int]) -> tuple[Image.Image, Image.Image]:
    """One part of the pictures before and after."""
    width = (strip.width - LINE) // 2
    after = strip.crop((width + LINE, 0, strip.width, strip.height))
    return strip.crop(part), after.crop(part)


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
            asyncio.run(main(sys.argv[1:] or list(SHOWN), server.address))
