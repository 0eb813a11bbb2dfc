"""Make the pictures of the nodes at work, for the help pages and the README, from the real page.

    PYTHONPATH=. COMFYUI_PATH=/path/to/ComfyUI python tests/browser/make_pictures.py      # two minutes on two CPU cores

Writes web/docs/pictures/NODE.jpg for every node, and graph_yoeo.jpg, graph_yoeo_nodes2.jpg and mask_editor.jpg into
assets/pictures.  Look at them before they are committed: what they show is whatever the page shows.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from conftest import FLAGS, WINDOW, installed_browser
from graph_page import CANVAS, NODES_2, GraphPage
from mask_editor import paint
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from workflows.comfyui import Server, lay_out, serving

ROOT = Path(__file__).resolve().parent.parent.parent
PICTURES = ROOT / "assets" / "pictures"
HELP = ROOT / "web" / "docs" / "pictures"
NODE_PX, NODE_BYTES, GRAPH_BYTES = 700, 60_000, 150_000
SHOWN_IN = {  # which graph shows which nodes best
    "erase_yoeo": ["EraseOnceExamplePicture", "EraseOnceLoadModel", "EraseOnceYOEO"],
    "erase_eradiff": ["EraseOnceEraDiff"],
    "erase_check_retry": ["EraseOnceLoadDetector", "EraseOnceSundryCheck"],
    "many_objects": ["EraseOnceSnapMask"],
    "crop_stitch_second_pass": ["EraseOnceCrop", "EraseOnceStitch"],
    "sra_stock_sampler": ["EraseOnceSRA"],
}
# a brush stroke over the bird, in pixels of the photograph
WREN = [(360, 103), (330, 108), (300, 112), (318, 120), (296, 134), (316, 142), (290, 152), (318, 158), (284, 168)]
WREN += [(318, 174), (280, 180), (318, 190)]
CENTRE = """([id, width]) => {
    const node = app.graph.getNodeById(id), [x, y] = node.pos, [w, h] = node.size, view = app.canvas.ds
    view.scale = width / (w + 200)
    view.offset = [700 / view.scale - x - w / 2, 190 / view.scale - y]
    app.canvas.deselectAll(), app.canvas.setDirty(true, true)
    return {x: 350, y: 190 - 78 * view.scale, width: 700, height: (h + 100) * view.scale}
}"""
SIGMAS = """() => {
    const [load, sigmas, sampler] = ['EraseOnceLoadModel', 'EraseOnceSigmas', 'SamplerCustom'].map((type, place) => {
        const node = LiteGraph.createNode(type)
        node.pos = [400 * place, 40 * place]
        node.size[0] = 330
        return app.graph.add(node)
    })
    load.connect(0, sigmas, 'model'), load.connect(0, sampler, 'model'), sigmas.connect(0, sampler, 'sigmas')
}"""

EFFECTS = """() => {
    const [example, grow, erase] = ['EraseOnceExamplePicture', 'EraseOnceGrowToEffects', 'EraseOnceYOEO'].map(
        (type, place) => {
            const node = LiteGraph.createNode(type)
            node.pos = [360 * place, 40 * place]
            node.size[0] = 290
            return app.graph.add(node)
        }
    )
    example.connect(0, grow, 'image'), example.connect(1, grow, 'mask')
    example.connect(0, erase, 'image'), grow.connect(0, erase, 'mask')
}"""


def main(comfyui: Path) -> None:
    """Starts a server and a browser, and takes the pictures."""
    HELP.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed_browser(), args=FLAGS)
        flags = "--cpu", "--preview-method", "latent2rgb"
        with serving(comfyui, Path(sys.executable), lay_out(Path(base), ROOT), *flags) as server:
            for renderer, name in ((CANVAS, "graph_yoeo"), (NODES_2, "graph_yoeo_nodes2")):
                with opened(browser, server, renderer) as page:
                    take_graph(page, name)
            with opened(browser, server, CANVAS) as page:
                take_nodes(page)
        browser.close()


@contextmanager
def opened(browser: Browser, server: Server, renderer: str) -> Iterator[GraphPage]:
    """The page in a window of its own."""
    with browser.new_context(viewport={**WINDOW, "height": 1300}) as context:
        page = GraphPage(context.new_page(), server.address, renderer, Path(server.base))
        page.open()
        yield page


def take_graph(page: GraphPage, name: str) -> None:
    """The whole graph of Erase (YOEO) after its first run; on the canvas the mask editor as well."""
    page.page.set_viewport_size({**WINDOW, "height": 1080})
    page.open_template("erase_yoeo")
    run_and_show(page)
    page.page.evaluate("() => app.canvas.deselectAll()")  # or only the selected node would be brought into view
    page.fit_view()
    keep(page.screenshot(name), PICTURES / f"{name}.jpg", width=1200)
    if page.renderer == CANVAS:
        take_mask_editor(page)


def take_mask_editor(page: GraphPage) -> None:
    """The mask editor with a stroke painted over the bird."""
    page.take_own_picture(PICTURES / "wren.jpg").open_mask_editor()
    paint(page.page, 768, WREN)
    keep(page.screenshot("mask_editor"), PICTURES / "mask_editor.jpg", width=1000)


def take_nodes(page: GraphPage) -> None:
    """Every node, in the middle of its neighbours, after a run."""
    for graph, names in SHOWN_IN.items():
        page.open_template(graph)
        run_and_show(page)
        for name in names:
            take_node(page, name)
    for graph, name in ((SIGMAS, "EraseOnceSigmas"), (EFFECTS, "EraseOnceGrowToEffects")):
        page.new_graph()
        page.page.evaluate(graph)
        take_node(page, name)


def run_and_show(page: GraphPage) -> None:
    """Runs the open graph, and waits until its Save Image shows what came out."""
    save = page.node("SaveImage")
    (image,) = page.run()["outputs"][str(save.id)]["images"]
    save.wait_for_picture(image["filename"])


def take_node(page: GraphPage, name: str) -> None:
    """The first node of a type, drawn 700 pixels wide with what is beside it."""
    node = min(id for id, node in page.nodes().items() if node["type"] == name)
    clip = page.page.evaluate(CENTRE, [node, NODE_PX])
    page.page.wait_for_timeout(500)  # for the picture's next few frames
    png = page.page.screenshot(clip=clip)
    keep(io.BytesIO(png), HELP / f"{name}.jpg", width=NODE_PX)


def keep(png: Path | io.BytesIO, path: Path, width: int) -> None:
    """Writes a screenshot as a JPEG, scaled down to a width in pixels."""
    picture = Image.open(png).convert("RGB")
    picture.thumbnail((width, picture.height))
    for quality in (85, 75, 65, 55):
        picture.save(path, quality=quality, optimize=True)
        if path.stat().st_size <= (NODE_BYTES if width == NODE_PX else GRAPH_BYTES):
            break
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main(Path(os.environ["COMFYUI_PATH"]))
