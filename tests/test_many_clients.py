"""Many people at one server: each gets the pictures that were asked for, and what is cancelled ends cancelled."""

import asyncio
import io
import json
from dataclasses import dataclass, field

import aiohttp
import numpy as np
import pytest
from PIL import Image
from test_server import drive

from workflows.client import Client, saved_pictures
from workflows.comfyui import Server

CLIENTS = 8
WIDTH, HEIGHT = 96, 64
ERADIFF = {"strength": 1.0, "attention": "rectified"}
ERASERS = {"EraseOnceYOEO": ("nano (built in)", {}), "EraseOnceEraDiff": ("nano EraDiff (built in)", ERADIFF)}


@dataclass
class Asked:
    """One prompt: whose it is, its picture's colour, whether it is cancelled and where, and what was heard of it."""

    client: int
    colour: int
    cancelled: str
    prompt_id: str = ""
    heard: list[str] = field(default_factory=list)


def prompt_of(asked: Asked, number: int) -> dict:
    """A picture of one colour, that of the prompt alone, with a hole in its middle."""
    node = "EraseOnceEraDiff" if asked.cancelled else list(ERASERS)[number % 2]
    model, own = ERASERS[node]
    settings = {
        "steps": 1000 if asked.cancelled else 1,
        "seed": number,
        "grow": 3,
        "context": 0.5,
        "resolution": 64,
        **own,
    }
    links = {"model": ["load", 0], "vae": ["load", 1], "conditioning": ["load", 2]}
    solid = {"width": WIDTH, "height": HEIGHT}
    hole = {"destination": ["black", 0], "source": ["white", 0], "x": 40, "y": 24, "operation": "add"}
    return {
        "load": {"class_type": "EraseOnceLoadModel", "inputs": {"model": model, "unet": "none"}},
        "picture": {"class_type": "EmptyImage", "inputs": {**solid, "batch_size": 1, "color": asked.colour}},
        "black": {"class_type": "SolidMask", "inputs": {**solid, "value": 0.0}},
        "white": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 16, "height": 16}},
        "hole": {"class_type": "MaskComposite", "inputs": hole},
        "erase": {
            "class_type": node,
            "inputs": {**links, "image": ["picture", 0], "mask": ["hole", 0], **settings},
        },
        "save": {"class_type": "SaveImage", "inputs": {"images": ["erase", 0], "filename_prefix": f"many{number}"}},
    }


async def listen(client: Client, own: dict[str, Asked], waiting: set[str]) -> None:
    """Write down what a client is told of its prompts, until the last one has ended; it must hear of no others."""
    while waiting:
        message = await client.socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            continue
        event = json.loads(message.data)
        kind, data = event["type"], event["data"]
        if "prompt_id" not in data:
            continue
        own[data["prompt_id"]].heard.append(kind)
        if kind == "progress" and own[data["prompt_id"]].cancelled == "running":
            await cancel(client, data["prompt_id"])
        if kind == "executing" and data["node"] is None:  # said last, when the history is written too
            waiting.discard(data["prompt_id"])


async def cancel(client: Client, prompt_id: str) -> None:
    """As ComfyUI's page does: take it from the queue, and stop it in case that it runs."""
    for path, said in (("/queue", {"delete": [prompt_id]}), ("/interrupt", {"prompt_id": prompt_id})):
        async with client.session.post(path, json=said, raise_for_status=True):
            pass


@pytest.mark.parametrize("count", [16, pytest.param(100, marks=pytest.mark.full)])
def test_each_client_gets_its_own_pictures_and_none_is_lost(server: Server, count: int):
    """A third is cancelled, the first of them while it runs: they ask for more steps than anyone would wait for."""
    colours = [(37 * n % 256) << 16 | (91 * n % 256) << 8 | (149 * n + 60) % 256 for n in range(count)]
    how = ["running" if n == 2 else "waiting" if n % 3 == 2 else "" for n in range(count)]
    asked = [Asked(n % CLIENTS, *one) for n, one in enumerate(zip(colours, how, strict=True))]
    assert len(set(colours)) == count

    async def scenario(first: Client) -> dict:
        clients = [await Client(server.address).__aenter__() for _ in range(CLIENTS)]
        try:
            return await ask_for_all(clients, first)
        finally:
            await asyncio.gather(*(client.__aexit__() for client in clients))

    async def ask_for_all(clients: list[Client], first: Client) -> dict:
        async def queue(number: int, one: Asked) -> None:
            one.prompt_id = await clients[one.client].queue(prompt_of(one, number))

        await asyncio.gather(*(queue(number, one) for number, one in enumerate(asked)))
        waiting = [one for one in asked if one.cancelled == "waiting"]
        gone = {one.prompt_id for one in waiting}
        hearing = []
        for number, client in enumerate(clients):
            own = {one.prompt_id: one for one in asked if one.client == number}
            hearing.append(asyncio.create_task(listen(client, own, own.keys() - gone)))
        await asyncio.gather(
            *(cancel(clients[one.client], one.prompt_id) for one in asked if one.cancelled == "waiting")
        )
        await asyncio.wait_for(asyncio.gather(*hearing), 60 + 20 * count)
        left = await first.get("/queue")
        assert not left["queue_running"] and not left["queue_pending"]
        history = await first.get("/history")
        return {one.prompt_id: await pictures_of(first, history.get(one.prompt_id)) for one in asked}

    made = drive(server, scenario)
    assert len(made) == count, "every prompt has an id of its own"
    for one in asked:
        if one.cancelled:
            assert made[one.prompt_id] == [] and "execution_success" not in one.heard
            assert one.cancelled == "waiting" or "execution_interrupted" in one.heard
        else:
            assert one.heard.count("execution_success") == 1
            (picture,) = made[one.prompt_id]
            require_its_own(picture, one.colour)
    assert server.process.poll() is None


async def pictures_of(client: Client, run: dict | None) -> list[np.ndarray]:
    """What a prompt saved; nothing of one that never ran or was stopped."""
    images = [] if run is None else saved_pictures(run["outputs"])
    return [np.asarray(Image.open(io.BytesIO(await client.view(image)))) for image in images]


def require_its_own(picture: np.ndarray, colour: int) -> None:
    """The prompt's own colour, bit for bit around the hole, and in the hole that colour as well as a network paints."""
    rgb = np.array([colour >> 16, colour >> 8 & 255, colour & 255])
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[24 - 4 : 40 + 4, 40 - 4 : 56 + 4] = False
    assert picture.shape == (HEIGHT, WIDTH, 3) and (picture[outside] == rgb).all()
    assert np.abs(picture[~outside].mean(0) - rgb).max() < 16
