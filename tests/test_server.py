"""The example graphs on a real ComfyUI, through its websocket API, as a user's browser would run them."""

import asyncio
import io
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from scipy import ndimage
from stock_checkpoint import write_stock_checkpoint
from torch import Tensor

from inpainting_core.masks import to_patches
from workflows.client import Client, Interrupted, NodeError, PromptError, saved_pictures, with_mask
from workflows.comfyui import Server
from workflows.convert import fill_in, take_picture, to_prompt

ROOT = Path(__file__).resolve().parent.parent
NODES = {
    "EraseOnceLoadModel",
    "EraseOnceYOEO",
    "EraseOnceEraDiff",
    "EraseOnceSRA",
    "EraseOnceSigmas",
    "EraseOnceCrop",
    "EraseOnceStitch",
    "EraseOnceLoadDetector",
    "EraseOnceSundryCheck",
    "EraseOnceSnapMask",
    "EraseOnceExamplePicture",
    "EraseOnceGrowToEffects",
}
GROWN_PX = 12  # more than any graph grows its mask


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A part of a real photograph, 256 x 192, and beside it a mask."""
    Image.open(ROOT / "assets" / "pictures" / "wren.jpg").crop((200, 40, 456, 232)).save(tmp_path / "photo.png")
    mask = Image.new("L", (256, 192))
    ImageDraw.Draw(mask).ellipse((90, 60, 140, 110), fill=255)
    mask.save(tmp_path / "mask.png")
    return tmp_path / "photo.png"


@pytest.fixture(scope="session")
def stock_checkpoint(server: Server) -> str:
    return write_stock_checkpoint(server.base / "models" / "checkpoints" / "stock-inpainting.safetensors").name


def drive(server: Server, scenario: Callable[[Client], Awaitable]):
    """Runs an async scenario with a client of the server; what it returned."""

    async def connected():
        async with Client(server.address) as client:
            return await scenario(client)

    return asyncio.run(connected())


async def stored(client: Client, name: str) -> dict:
    """An example graph as a prompt, as it is."""
    graph = json.loads((ROOT / "workflows" / f"{name}.json").read_text())
    return to_prompt(graph, await client.object_info())


async def prepared(client: Client, name: str, photo: Path) -> dict:
    """An example graph as a prompt, with a picture of the test's in it."""
    prompt = await stored(client, name)
    take_picture(prompt, await client.upload(with_mask(photo, photo.with_name("mask.png")), "photo.png"))
    return prompt


async def saved(client: Client, outputs: dict) -> np.ndarray:
    """The only picture that a run saved."""
    (image,) = saved_pictures(outputs)
    return np.asarray(Image.open(io.BytesIO(await client.view(image))))


def id_of(prompt: dict, class_type: str) -> str:
    (found,) = [node for node, content in prompt.items() if content["class_type"] == class_type]
    return found


def titled(prompt: dict, title: str) -> str:
    """The only node of a title."""
    (found,) = [node for node, content in prompt.items() if content["_meta"]["title"] == title]
    return found


def far_from_hole(photo: Path) -> np.ndarray:
    hole = np.asarray(Image.open(photo.with_name("mask.png"))) > 0
    return ndimage.distance_transform_edt(~hole) > GROWN_PX


def test_object_info_lists_our_nodes_and_every_input_has_a_tooltip(server: Server):
    info = drive(server, Client.object_info)
    assert {name for name in info if name.startswith("EraseOnce")} == NODES
    for node in NODES:
        for group in info[node]["input"].values():
            for name, (_, options) in group.items():
                assert options.get("tooltip"), f"{node}.{name}"


@pytest.mark.parametrize("name", ["erase_yoeo", "erase_eradiff", "erase_check_retry"])
def test_graph_erases_and_leaves_the_rest_alone(server: Server, photo: Path, name: str):
    async def scenario(client: Client) -> np.ndarray:
        return await saved(client, await client.run(await prepared(client, name, photo)))

    before, after = np.asarray(Image.open(photo)), drive(server, scenario)
    assert after.shape == before.shape
    outside = far_from_hole(photo)
    assert (after[outside] == before[outside]).all()
    assert (after[~outside] != before[~outside]).mean() > 0.2


def test_sra_graph_runs_on_a_stock_checkpoint(server: Server, photo: Path, stock_checkpoint: str):
    """By the stock loader in place of ours, as the graph's note says."""

    async def scenario(client: Client) -> tuple[np.ndarray, np.ndarray]:
        prompt = await prepared(client, "sra_stock_sampler", photo)
        load = id_of(prompt, "EraseOnceLoadModel")
        prompt["stock"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": stock_checkpoint}}
        prompt["empty"] = {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["stock", 1]}}
        places = {(load, 0): ["stock", 0], (load, 1): ["stock", 2], (load, 2): ["empty", 0]}
        for node in prompt.values():
            links = {name: tuple(value) for name, value in node["inputs"].items() if isinstance(value, list)}
            node["inputs"] |= {name: places[link] for name, link in links.items() if link in places}
        fill_in(prompt, "KSampler", steps=3)
        rectified = await saved(client, await client.run(prompt))
        fill_in(prompt, "EraseOnceSRA", mode="off")
        return rectified, await saved(client, await client.run(prompt))

    rectified, plain = drive(server, scenario)
    assert rectified.shape == plain.shape == (192, 256, 3)
    assert (rectified != plain).any()


def test_sra_in_a_transformer_ends_with_its_own_sampler(server: Server, photo: Path, stock_checkpoint: str):
    """A tiny SD3 by the stock loader: another sampler on the same MODEL makes the same bits before and afterwards."""
    write_tiny_sd3(server.base / "models" / "diffusion_models" / "tiny-sd3.safetensors")

    async def scenario(client: Client) -> tuple[Tensor, ...]:
        picture = await client.upload(with_mask(photo, photo.with_name("mask.png")), "photo.png")
        sampling = {"seed": 1, "steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
        sampling |= {"positive": ["text", 0], "negative": ["text", 0], "latent_image": ["latent", 0]}
        prompt = {
            "picture": {"class_type": "LoadImage", "inputs": {"image": picture}},
            "model": {
                "class_type": "UNETLoader",
                "inputs": {"unet_name": "tiny-sd3.safetensors", "weight_dtype": "default"},
            },
            "stock": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": stock_checkpoint}},
            "text": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["stock", 1]}},
            "latent": {
                "class_type": "EmptySD3LatentImage",
                "inputs": {"width": 256, "height": 192, "batch_size": 1},
            },
            "sra": {"class_type": "EraseOnceSRA", "inputs": {"model": ["model", 0], "mask": ["picture", 1]}},
            "sampler": {"class_type": "KSampler", "inputs": sampling | {"model": ["model", 0]}},
            "save": {"class_type": "SaveLatent", "inputs": {"samples": ["sampler", 0], "filename_prefix": "before"}},
        }
        prompt["sra"]["inputs"] |= {"mode": "rectified", "blocks": "all", "start_percent": 0.0, "end_percent": 1.0}
        made = []
        for name, model in (("before", "model"), ("rectified", "sra"), ("after", "model")):
            prompt["sampler"]["inputs"]["model"] = [model, 0]
            fill_in(prompt, "SaveLatent", filename_prefix=name)
            await client.run(prompt)
            made.append(load_file(server.base / "output" / f"{name}_00001_.latent")["latent_tensor"])
        return tuple(made)

    before, rectified, after = drive(server, scenario)
    assert before.isfinite().all() and (before == after).all()
    hole = to_patches(torch.from_numpy(np.array(Image.open(photo.with_name("mask.png"))) / 255.0)[None, None], 16)
    changed = ((rectified - before).abs() > 1e-5).any(1).float()[:, None]
    assert (to_patches(changed, 2) == hole).all(), "in its one block the hole's tokens alone see less"


def write_tiny_sd3(path: Path) -> None:
    """Random weights of a transformer that ComfyUI detects as an SD3, for the stock checkpoint's text encoder."""
    width, generator = 64, torch.Generator().manual_seed(0)
    shapes = {"pos_embed": (1, 36 * 36, width), "x_embedder.proj.weight": (width, 16, 2, 2)}
    shapes |= {"x_embedder.proj.bias": (width,), "context_embedder.weight": (width, 768)}
    shapes |= {"context_embedder.bias": (width,), "final_layer.linear.weight": (64, width)}
    shapes |= {"final_layer.linear.bias": (64,), "final_layer.adaLN_modulation.1.weight": (2 * width, width)}
    shapes |= {"final_layer.adaLN_modulation.1.bias": (2 * width,)}
    layers = {"t_embedder.mlp.0": (width, 256), "t_embedder.mlp.2": (width, width)}
    layers |= {"y_embedder.mlp.0": (width, 768), "y_embedder.mlp.2": (width, width)}
    for block, parts in (("context_block", 2), ("x_block", 6)):  # of the last block of all, which ends the text
        layers |= {f"joint_blocks.0.{block}.attn.qkv": (3 * width, width)}
        layers |= {f"joint_blocks.0.{block}.adaLN_modulation.1": (parts * width, width)}
    layers |= {"joint_blocks.0.x_block.attn.proj": (width, width)}
    layers |= {
        "joint_blocks.0.x_block.mlp.fc1": (4 * width, width),
        "joint_blocks.0.x_block.mlp.fc2": (width, 4 * width),
    }
    for name, (out, into) in layers.items():
        shapes |= {f"{name}.weight": (out, into), f"{name}.bias": (out,)}
    weights = {name: torch.randn(shape, generator=generator) * shape[-1] ** -0.5 for name, shape in shapes.items()}
    save_file({f"model.diffusion_model.{name}": weight for name, weight in weights.items()}, path)


def test_check_and_retry_says_what_it_took_and_shows_what_is_left(server: Server, photo: Path):
    async def scenario(client: Client) -> tuple[dict, dict]:
        prompt = await prepared(client, "erase_check_retry", photo)
        return prompt, await client.run(prompt)

    prompt, outputs = drive(server, scenario)
    (text,) = outputs[id_of(prompt, "EraseOnceYOEO")]["text"]
    assert ", best of 2, " in text and re.search(r" s\. (Clean|Not clean)", text)
    assert outputs[id_of(prompt, "EraseOnceSundryCheck")]["text"]
    (overlay,) = outputs[titled(prompt, "What the detector sees")]["images"]
    assert overlay["type"] == "temp"


def test_many_objects_are_snapped_and_erased_and_the_rest_is_left_alone(server: Server):
    async def scenario(client: Client) -> tuple[np.ndarray, np.ndarray]:
        prompt = await stored(client, "many_objects")
        outputs = await client.run(prompt)
        (shown,) = outputs[titled(prompt, "The mask, snapped and grown")]["images"]
        hole = np.asarray(Image.open(io.BytesIO(await client.view(shown))).convert("L")) > 127
        return await saved(client, outputs), hole

    after, hole = drive(server, scenario)
    before = np.asarray(Image.open(ROOT / "assets" / "pictures" / "rocket.jpg"))
    assert ndimage.label(hole)[1] >= 3
    outside = ndimage.distance_transform_edt(~hole) > GROWN_PX
    assert (after[outside] == before[outside]).all() and (after[hole] != before[hole]).mean() > 0.2


def test_cancel_during_candidates_stops_within_a_step_and_leaves_nothing_on_the_model(server: Server, photo: Path):
    steps_seen = []

    async def scenario(client: Client) -> tuple[np.ndarray, np.ndarray]:
        before = await saved(client, await client.run(await prepared(client, "erase_eradiff", photo)))
        prompt = await prepared(client, "erase_eradiff", photo)
        fill_in(prompt, "EraseOnceEraDiff", steps=1000, seed=3, candidates=4)
        cancelling = []

        def cancel_after_two_steps(kind: str, data: dict) -> None:
            if kind == "progress":
                steps_seen.append(data["value"])
                if data["value"] == 2:
                    cancelling.append(asyncio.create_task(client.interrupt()))

        with pytest.raises(Interrupted, match="EraseOnceEraDiff"):
            await client.run(prompt, watch=cancel_after_two_steps)
        await asyncio.gather(*cancelling)
        prompt = await prepared(client, "erase_eradiff", photo)
        fill_in(prompt, "SaveImage", filename_prefix="again")  # otherwise nothing would be run again
        fill_in(prompt, "EraseOnceEraDiff", tries=5)  # read only with until_clean
        return before, await saved(client, await client.run(prompt))

    before, after = drive(server, scenario)
    assert (before == after).all()
    assert 2 <= steps_seen[-1] <= 6


def test_progress_and_previews_arrive(server: Server, photo: Path):
    seen = []

    async def scenario(client: Client) -> dict:
        prompt = await prepared(client, "erase_eradiff", photo)
        fill_in(prompt, "EraseOnceEraDiff", steps=4, seed=1)
        return await client.run(prompt, watch=lambda kind, data: seen.append((kind, data)))

    drive(server, scenario)
    assert [(d["value"], d["max"]) for kind, d in seen if kind == "progress"] == [(n, 4) for n in (1, 2, 3, 4)]
    assert [data for kind, data in seen if kind == "preview"]


def test_cancel_stops_within_a_step_and_the_server_goes_on(server: Server, photo: Path):
    steps_seen = []

    async def scenario(client: Client) -> np.ndarray:
        prompt = await prepared(client, "erase_eradiff", photo)
        fill_in(prompt, "EraseOnceEraDiff", steps=1000, seed=2)
        cancelling = []

        def cancel_after_three_steps(kind: str, data: dict) -> None:
            if kind == "progress":
                steps_seen.append(data["value"])
                if data["value"] == 3:
                    cancelling.append(asyncio.create_task(client.interrupt()))

        with pytest.raises(Interrupted, match="EraseOnceEraDiff"):
            await client.run(prompt, watch=cancel_after_three_steps)
        await asyncio.gather(*cancelling)
        return await saved(client, await client.run(await prepared(client, "erase_yoeo", photo)))

    assert drive(server, scenario).shape == (192, 256, 3)
    assert 3 <= steps_seen[-1] <= 10


def test_an_empty_mask_gives_the_picture_back_and_says_so(server: Server, photo: Path):
    Image.new("L", (256, 192)).save(photo.with_name("mask.png"))

    async def scenario(client: Client) -> tuple[np.ndarray, dict]:
        outputs = await client.run(await prepared(client, "erase_yoeo", photo))
        return await saved(client, outputs), outputs

    after, outputs = drive(server, scenario)
    assert (after == np.asarray(Image.open(photo))).all()
    texts = {text for node in outputs.values() for text in node.get("text", [])}
    assert texts == {"The mask is empty: nothing to erase, the picture is unchanged."}


def test_a_mask_of_another_shape_is_refused_by_the_node_it_came_to(server: Server, photo: Path, tmp_path: Path):
    Image.new("RGBA", (100, 300)).save(tmp_path / "tall.png")

    async def scenario(client: Client) -> None:
        prompt = await prepared(client, "erase_yoeo", photo)
        tall = await client.upload((tmp_path / "tall.png").read_bytes(), "tall.png")
        prompt["tall"] = {"class_type": "LoadImage", "inputs": {"image": tall}}
        node = id_of(prompt, "EraseOnceYOEO")
        prompt[node]["inputs"]["mask"] = ["tall", 1]
        with pytest.raises(NodeError, match="mask must") as raised:
            await client.run(prompt)
        assert (raised.value.node, raised.value.node_type) == (node, "EraseOnceYOEO")

    drive(server, scenario)


def test_a_widget_out_of_range_is_refused_before_anything_runs(server: Server, photo: Path):
    async def scenario(client: Client) -> None:
        prompt = await prepared(client, "erase_yoeo", photo)
        fill_in(prompt, "EraseOnceYOEO", steps=9)
        with pytest.raises(PromptError, match="steps") as raised:
            await client.run(prompt)
        assert list(raised.value.nodes) == [id_of(prompt, "EraseOnceYOEO")]

    drive(server, scenario)


def clip(frames: int) -> bytes:
    """An MP4 of a camera that stands still: a detailed coast, a logo at its top left, and a dot that walks below."""
    photo = Image.open(ROOT / "assets" / "pictures" / "satellite.jpg").crop((0, 0, 448, 320))
    ImageDraw.Draw(photo).rectangle((40, 40, 110, 70), fill=(250, 240, 40))
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = photo.width, photo.height, "yuv420p"
        for number in range(frames):
            frame = photo.copy()
            ImageDraw.Draw(frame).ellipse((200 + 20 * number, 260, 230 + 20 * number, 290), fill=(200, 30, 30))
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize(
    ("method", "model"), [("YOEO", "nano (built in)"), ("EraDiff", "nano EraDiff (built in)")], ids=["YOEO", "EraDiff"]
)
def test_a_logo_goes_from_a_video_without_a_flicker(server: Server, method: str, model: str):
    """Frame after frame gets the same fill: each draws the same noise, and is copied from the same places."""
    logo, png = Image.new("L", (448, 320)), io.BytesIO()
    ImageDraw.Draw(logo).rectangle((36, 36, 114, 74), fill=255)
    logo.convert("RGB").save(png, "PNG")

    async def scenario(client: Client) -> np.ndarray:
        video, mask = await client.upload(clip(8), "clip.mp4"), await client.upload(png.getvalue(), "logo.png")
        erase = {"model": ["load", 0], "vae": ["load", 1], "conditioning": ["load", 2]}
        erase |= {"image": ["frames", 0], "mask": ["mask", 0], "seed": 1, "grow": 5, "context": 0.5, "resolution": 0}
        erase |= {"steps": 2} if method == "YOEO" else {"steps": 3, "strength": 1.0, "attention": "rectified"}
        prompt = {
            "video": {"class_type": "LoadVideo", "inputs": {"file": video}},
            "frames": {"class_type": "GetVideoComponents", "inputs": {"video": ["video", 0]}},
            "mask": {"class_type": "LoadImageMask", "inputs": {"image": mask, "channel": "red"}},
            "load": {"class_type": "EraseOnceLoadModel", "inputs": {"model": model, "unet": "none"}},
            "erase": {"class_type": f"EraseOnce{method}", "inputs": erase},
            "save": {"class_type": "SaveImage", "inputs": {"images": ["erase", 0], "filename_prefix": "frame"}},
        }
        frames = [await client.view(image) for image in saved_pictures(await client.run(prompt))]
        return np.stack([np.asarray(Image.open(io.BytesIO(frame)), dtype=np.float32) for frame in frames])

    frames, hole = drive(server, scenario), np.asarray(logo) > 0
    assert len(frames) == 8
    yellow = (frames[..., 0] - frames[..., 2])[:, hole] > 120
    assert yellow.mean() < 0.02
    assert np.abs(np.diff(frames, axis=0))[:, hole].mean() < 0.1
