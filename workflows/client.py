"""A client of ComfyUI's websocket API: give it pictures and a prompt, watch it run, take the results.

``async with Client("127.0.0.1:8188") as client: outputs = await client.run(prompt)``
"""

import io
import json
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import torch
from PIL import Image

from inpainting_core.picture_files import read_mask, read_picture, visible_rgb

PREVIEW = 1  # the number that a binary message with a picture begins with; texts begin with another


class PromptError(RuntimeError):
    """ComfyUI refused a prompt before running it; ``nodes`` tells the reasons by node id."""

    def __init__(self, answer: dict):
        self.nodes = answer["node_errors"]
        reasons = [f"{e['message']} ({e['details']})" for n in self.nodes.values() for e in n["errors"]]
        super().__init__("; ".join([answer["error"]["message"], *reasons]))


class NodeError(RuntimeError):
    """A node raised while running: its id, its type, and the sentence it said."""

    def __init__(self, data: dict):
        self.node, self.node_type, self.kind = data["node_id"], data["node_type"], data["exception_type"]
        super().__init__(data["exception_message"].strip())


class Interrupted(RuntimeError):
    """The run was cancelled."""


class Client:
    """One connection to the ComfyUI at ``host:port``; use it in ``async with``."""

    def __init__(self, address: str):
        self.url, self.id = f"http://{address}", uuid.uuid4().hex

    async def __aenter__(self) -> "Client":
        self.session = aiohttp.ClientSession(self.url)
        self.socket = await self.session.ws_connect("/ws", params={"clientId": self.id}, max_msg_size=0)
        return self

    async def __aexit__(self, *error) -> None:
        await self.socket.close()
        await self.session.close()

    async def get(self, path: str, **query: str) -> dict:
        """The JSON answer to a GET; raises aiohttp.ClientResponseError where the status is not a success."""
        async with self.session.get(path, params=query, raise_for_status=True) as answer:
            return await answer.json()

    async def object_info(self) -> dict:
        """Every node type's inputs and outputs, by its id."""
        return await self.get("/object_info")

    async def upload(self, content: bytes, name: str) -> str:
        """Puts a picture file among the server's inputs, replacing one of its name; what Load Image knows it by."""
        form = aiohttp.FormData({"type": "input", "overwrite": "true"})
        form.add_field("image", content, filename=name)
        async with self.session.post("/upload/image", data=form, raise_for_status=True) as answer:
            return (await answer.json())["name"]

    async def queue(self, prompt: dict) -> str:
        """Queues a prompt in API format; its id. Raises PromptError where the server refuses it."""
        async with self.session.post("/prompt", json={"prompt": prompt, "client_id": self.id}) as answer:
            reply = await answer.json()
        if answer.status != 200:
            raise PromptError(reply)
        return reply["prompt_id"]

    async def events(self, prompt_id: str) -> AsyncIterator[tuple[str, dict]]:
        """What happens in one run, as (kind, data), up to its end; a preview picture is ("preview", {"bytes": n})."""
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                if int.from_bytes(message.data[:4], "big") == PREVIEW:
                    yield "preview", {"bytes": len(message.data)}
                continue
            event = json.loads(message.data)
            kind, data = event["type"], event["data"]
            if data.get("prompt_id") != prompt_id:
                continue
            yield kind, data
            if kind == "executing" and data["node"] is None:  # said last, when the history is written too
                return
        raise ConnectionError(f"ComfyUI must stay connected until a run ends, got a closed socket from {self.url}.")

    async def run(self, prompt: dict, watch: Callable[[str, dict], None] | None = None) -> dict:
        """Runs a prompt to its end; the outputs by node id. Raises PromptError, NodeError or Interrupted."""
        prompt_id, stopped = await self.queue(prompt), None
        async for kind, data in self.events(prompt_id):
            if watch is not None:
                watch(kind, data)
            if kind == "execution_error":
                stopped = NodeError(data)
            if kind == "execution_interrupted":
                stopped = Interrupted(f"the run was cancelled in {data['node_type']}.")
        if stopped is not None:
            raise stopped
        return (await self.get(f"/history/{prompt_id}"))[prompt_id]["outputs"]

    async def view(self, image: dict) -> bytes:
        """One picture of a node's outputs, as the file's bytes."""
        async with self.session.get("/view", params=image, raise_for_status=True) as answer:
            return await answer.read()

    async def interrupt(self) -> None:
        """Asks the server to cancel what it is running."""
        async with self.session.post("/interrupt", raise_for_status=True):
            pass


def saved_pictures(outputs: dict) -> list[dict]:
    """What the Save Image nodes of a run wrote; each can be given to ``Client.view``."""
    return [image for node in outputs.values() for image in node.get("images", []) if image["type"] == "output"]


def with_mask(picture: Path, mask: Path) -> bytes:
    """An 8-bit PNG of the picture with its mask (1 = erase) in the alpha, inverted, as ComfyUI's mask editor stores it.

    Raises FileNotFoundError or ValueError for a file that is not one, and where the two differ in size.
    """
    photo, hole = visible_rgb(read_picture(picture)), read_mask(mask)
    sizes = [f"{one.shape[-1]} x {one.shape[-2]}" for one in (photo, hole)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"{mask.name} must have its picture's size, {sizes[0]} pixels, got {sizes[1]}.")
    planes = torch.cat([photo, 1 - hole], 1)[0].permute(1, 2, 0)
    png = io.BytesIO()
    Image.fromarray((planes * 255).round().byte().numpy()).save(png, "PNG")
    return png.getvalue()
