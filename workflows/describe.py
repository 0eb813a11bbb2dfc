"""Writes ``locales/en`` from the nodes' schemas: English has one source, and the other languages follow its keys.

``python -m workflows.describe`` starts the ComfyUI of COMFYUI_PATH, else the one that ./test fetches, and asks it.
"""

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from workflows.comfyui import lay_out, serving

ROOT = Path(__file__).resolve().parent.parent
LOCALES = ROOT / "locales"
PACK = "EraseOnce"  # what our node ids begin with


def ours(object_info: dict) -> dict:
    """Our nodes among all that a server knows."""
    return {name: node for name, node in object_info.items() if name.startswith(PACK)}


def node_words(object_info: dict) -> dict:
    """Every word on our nodes, as ComfyUI's ``nodeDefs.json`` holds them."""
    return {
        name: {
            "display_name": node["display_name"],
            "description": node["description"],
            "inputs": {key: input_words(key, options) for key, (_, options) in inputs(node).items()},
            "outputs": {
                str(place): {"name": label, "tooltip": tooltip}
                for place, (label, tooltip) in enumerate(zip(node["output_name"], node["output_tooltips"], strict=True))
            },
        }
        for name, node in ours(object_info).items()
    }


def inputs(node: dict) -> dict:
    """A node's inputs, ``{id: [type, options]}``, in the order in which they stand on it."""
    groups = (node["input"].get(group, {}) for group in ("required", "optional"))
    return {key: spec for group in groups for key, spec in group.items()}


def input_words(key: str, options: dict) -> dict:
    return {"name": options.get("display_name", key), "tooltip": options.get("tooltip")}


def category_words(object_info: dict) -> dict:
    """Our own folder of the node menu, as ComfyUI's ``main.json`` holds it; those above it are not ours to name."""
    return {"nodeCategories": {name: name for node in ours(object_info).values() for name in [last_folder(node)]}}


def last_folder(node: dict) -> str:
    return node["category"].split("/")[-1]


def read(language: str, file: str = "nodeDefs.json") -> dict:
    return json.loads((LOCALES / language / file).read_text(encoding="utf-8"))


def write(language: str, file: str, words: dict) -> None:
    path = LOCALES / language / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(words, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def ask(address: str) -> dict:
    """Every node type that the ComfyUI at ``host:port`` knows, by its id."""
    with urlopen(f"http://{address}/object_info") as answer:
        return json.load(answer)


def main() -> None:
    comfyui = Path(os.environ.get("COMFYUI_PATH", ROOT / ".comfyui"))
    with TemporaryDirectory(prefix="erase-once-") as folder:
        base = lay_out(Path(folder), ROOT)
        with serving(comfyui, Path(sys.executable), base, "--cpu") as server:
            info = ask(server.address)
    write("en", "nodeDefs.json", node_words(info))
    write("en", "main.json", category_words(info))


if __name__ == "__main__":
    main()
