"""ComfyUI's page in a browser, by the few things a person does there; the same words for both renderers."""

import json
import re
from base64 import b64encode
from pathlib import Path
from time import monotonic

from graph_node import CANVAS, NODES_2, GraphNode
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as TooLate

__all__ = ["CANVAS", "NODES_2", "GraphPage"]

PACK = "erase-once"
GRAPHS = Path(__file__).resolve().parent.parent.parent / "workflows"
RUN_SECONDS = 120
EMPTY_SPOT = (800, 960)  # in the window, where no example graph reaches
BESIDE = (500, 900)  # as empty, even with a node placed at the empty spot
SETTINGS = {
    "Comfy.TutorialCompleted": True,  # or the first visit begins with the template browser
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
}
READY = "window.app?.canvas && app.graph?._nodes.length"  # it begins with a graph of its own
NODES = """() => Object.fromEntries(app.graph._nodes.map(node => [node.id, {
    type: node.type, widgets: Object.fromEntries((node.widgets ?? []).map(widget => [widget.name, widget.value])),
}]))"""
UNKNOWN = """() => app.graph._nodes.map(node => node.type)
    .filter(type => !LiteGraph.registered_node_types[type])"""
ADD = """([type, left]) => {
    const node = LiteGraph.createNode(type), {scale, offset} = app.canvas.ds
    node.pos = [left / scale - offset[0], 250 / scale - offset[1]]
    return app.graph.add(node).id
}"""
TAKE_OWN = """async () => {
    const example = app.graph._nodes.find(node => node.type === 'EraseOnceExamplePicture')
    const load = LiteGraph.createNode('LoadImage')
    load.pos = [example.pos[0] - 420, example.pos[1]]
    app.graph.add(load)
    for (const _ of [1, 2]) await new Promise(requestAnimationFrame)  // its place counts once it is drawn
    for (const [slot, output] of example.outputs.entries())
        for (const link of [...(output.links ?? [])].map(id => app.graph.links[id]))
            load.connect(slot, app.graph.getNodeById(link.target_id), link.target_slot)
    return load.id
}"""
CONNECT = """([origin, output, target, name]) =>
    app.graph.getNodeById(origin).connect(output, app.graph.getNodeById(target), name)"""
FILE = """([base64, name, type]) => {
    const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0)), dropped = new DataTransfer()
    dropped.items.add(new File([bytes], name, {type}))
    return dropped
}"""
SHOWN = """words => document.body.innerText.includes(words)
    || [...document.querySelectorAll('textarea')].some(field => field.value === words && field.checkVisibility())"""
TAB = "app.extensionManager.workflow.activeWorkflow?.path"  # none for a moment, where the page is newer
BARE = "([x, y]) => document.elementFromPoint(x, y).tagName === 'CANVAS'"
STILL = """() => {
    const now = [app.canvas.ds.scale, ...app.canvas.ds.offset].join()
    window.stillFor = window.lastView === now ? window.stillFor + 1 : 0
    window.lastView = now
    return window.stillFor > 10
}"""


SETTLED = 5  # looks in a row at the names that the search box lists, all alike: it has found them all


class GraphPage:
    """One page on the server at ``host:port``, drawn by ``renderer``; screenshots go into ``pictures``."""

    def __init__(self, page: Page, address: str, renderer: str, pictures: Path):
        self.page, self.address, self.renderer, self.pictures = page, address, renderer, pictures

    def open(self) -> None:
        """Goes to the page with the renderer chosen, and waits until it can be worked with."""
        settings = {**SETTINGS, "Comfy.VueNodes.Enabled": self.renderer == NODES_2}
        self.page.request.post(f"http://{self.address}/settings", data=settings)
        self.page.add_init_script("localStorage.setItem('vueNodesBannerDismissed', 'true')")
        self.page.goto(f"http://{self.address}")
        self.page.wait_for_function(READY)
        self.button("Run").wait_for()

    def open_template_browser(self) -> dict[str, Locator]:
        """The cards that the template browser lists under the pack's name, by their template's name."""
        self.button("Templates").click()
        self.dialog.get_by_text(PACK, exact=True).first.click()
        self.dialog.get_by_text(PACK, exact=True).filter(visible=True).nth(1).wait_for()  # the heading over the cards
        cards = self.dialog.locator("[data-testid^='template-workflow-']").all()
        return {card.get_attribute("data-testid").removeprefix("template-workflow-"): card for card in cards}

    def open_template(self, name: str) -> None:
        """Opens an example graph from the template browser and brings the whole of it into view.

        Where the page then offers to download the real weights, the offer is closed.
        """
        card = self.open_template_browser()[name]
        card.click()
        while not self.opened(name):  # while its pictures still load, the list may move away from under a click
            card.click()
        if "models" in json.loads((GRAPHS / f"{name}.json").read_text()):
            self.close_dialog("Missing Models")
        self.fit_view()

    def opened(self, name: str) -> bool:
        """Whether the page opens this graph within ten seconds."""
        try:
            self.page.wait_for_function("name => document.title.includes(name)", arg=name, timeout=10_000)
        except TooLate:
            return False
        return True

    def close_dialog(self, words: str) -> None:
        """Waits for a dialog with these words and closes it."""
        said = self.page.get_by_role("dialog").get_by_text(words).first
        said.wait_for()
        self.page.keyboard.press("Escape")
        said.wait_for(state="hidden")

    def take_own_picture(self, picture: Path) -> GraphNode:
        """Connects a Load Image in place of the Example Picture, as the notes say, and chooses a picture in it."""
        load = GraphNode(self.page, self.renderer, self.page.evaluate(TAKE_OWN))
        self.fit_view()
        load.upload(picture)
        return load

    def new_graph(self) -> None:
        """Opens an empty graph in a tab of its own."""
        before = self.page.evaluate(TAB)
        self.button("Create a new blank workflow").click()
        self.page.wait_for_function(f"before => {TAB} !== before && app.graph._nodes.length === 0", arg=before)

    def drop(self, file: bytes, name: str, kind: str, nodes: int) -> None:
        """Drops a file on the canvas, and waits until the graph has as many nodes as the one in it."""
        dropped = self.page.evaluate_handle(FILE, [b64encode(file).decode(), name, kind])
        self.page.dispatch_event("#graph-canvas", "drop", {"dataTransfer": dropped})
        self.page.wait_for_function("count => app.graph._nodes.length === count", arg=nodes)

    def fit_view(self) -> None:
        """Brings the whole graph into view, and waits until it stands still there."""
        self.button("Fit View").click()
        self.page.evaluate("window.stillFor = 0")
        self.page.wait_for_function(STILL)

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog").last

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name).first

    def nodes(self) -> dict[int, dict]:
        """Every node by its id: its type, and its widgets' values by name."""
        return {int(id): node for id, node in self.page.evaluate(NODES).items()}

    def node(self, node_type: str) -> GraphNode:
        """The only node of a type."""
        (found,) = [id for id, node in self.nodes().items() if node["type"] == node_type]
        return GraphNode(self.page, self.renderer, found)

    def titled(self, title: str) -> GraphNode:
        """The only node of a title."""
        found = self.page.evaluate("title => app.graph._nodes.filter(n => n.title === title).map(n => n.id)", title)
        (id,) = found
        return GraphNode(self.page, self.renderer, id)

    def wait_for_text(self, words: str) -> None:
        """Waits until the page shows a text, in a node's text field or beside it."""
        self.page.wait_for_function(SHOWN, arg=words)

    def add(self, node_type: str, left: int = 700) -> GraphNode:
        """Adds a node in the upper part of the window, so many pixels from its left side."""
        return GraphNode(self.page, self.renderer, self.page.evaluate(ADD, [node_type, left]))

    def unknown_types(self) -> list[str]:
        """The types of the nodes that the page does not know."""
        return self.page.evaluate(UNKNOWN)

    def misses(self) -> list[str]:
        """What the page says of missing nodes, models or files."""
        return self.page.get_by_text(re.compile("missing", re.IGNORECASE)).filter(visible=True).all_inner_texts()

    def open_search(self) -> Locator:
        """Double-clicks the empty canvas; the names that the search box lists.

        More than once on a busy machine: it hands on the clicks too far apart for a double-click.
        """
        typed = self.page.locator(":focus[role=combobox]")
        for _ in range(10):
            self.page.mouse.dblclick(*EMPTY_SPOT)
            self.page.wait_for_timeout(1000)
            if typed.is_visible():
                break
        return self.page.get_by_role("option")

    def search(self, words: str, category: str = "") -> list[str]:
        """Opens the search box, filters, types; the names that it then lists, best first."""
        names = self.open_search()
        before = names.all_inner_texts()
        if category:
            self.filter_by(category)
        self.page.keyboard.type(words)
        seen = [before]
        while seen[-1] == before or len(set(map(tuple, seen[-SETTLED:]))) > 1:  # each letter finds other names
            self.page.wait_for_timeout(100)
            seen.append(found := names.all_inner_texts())
        self.screenshot(f"search_{words or category.replace('/', '_')}")
        self.page.keyboard.press("Escape")
        self.page.wait_for_function(BARE, arg=EMPTY_SPOT)
        return [name.split("\n")[0].strip() for name in found if name.strip()]

    def place(self, name: str) -> GraphNode:
        """Takes a node or a blueprint out of the search box and puts it on the canvas."""
        names, before = self.open_search(), set(self.nodes())
        self.page.keyboard.type(name.split(" (")[0])  # the box finds no words far from a title's beginning
        names.filter(has_text=name).first.click()
        self.page.wait_for_function("count => app.graph._nodes.length > count", arg=len(before))
        self.page.wait_for_function(BARE, arg=BESIDE)  # the box takes clicks until it has faded
        (placed,) = set(self.nodes()) - before
        return GraphNode(self.page, self.renderer, placed)

    def connect(self, origin: GraphNode, output: int, target: GraphNode, entry: str) -> None:
        """Draws a wire from an output to the input of a name."""
        self.page.evaluate(CONNECT, [origin.id, output, target.id, entry])

    def filter_by(self, category: str) -> None:
        """Adds a filter in the open search box."""
        self.page.locator(".filter-button").click()
        self.page.get_by_text("Category", exact=True).click()
        self.page.locator(".filter-value-select").click()
        self.page.get_by_role("searchbox").fill(category)
        self.page.get_by_role("option", name=category, exact=True).click()
        self.page.get_by_role("button", name="Add", exact=True).click()

    def run(self) -> dict:
        """Clicks Run and waits for the end; the run's entry in the history: ``prompt``, ``outputs``, ``status``."""
        return self.ended(self.start())

    def start(self) -> str:
        """Clicks Run; the id under which the server queues the graph."""
        with self.page.expect_response("**/prompt") as answer:
            self.button("Run").click()
        return answer.value.json()["prompt_id"]

    def ended(self, prompt: str) -> dict:
        """Waits for the end of a run; its entry in the history."""
        deadline = monotonic() + RUN_SECONDS
        while not (history := self.get(f"/history/{prompt}").json()):
            assert monotonic() < deadline, f"the run must end within {RUN_SECONDS} s, it goes on."
            self.page.wait_for_timeout(100)
        return history[prompt]

    def get(self, path: str, **params: str):
        """What the server answers."""
        return self.page.request.get(f"http://{self.address}{path}", params=params)

    def screenshot(self, name: str) -> Path:
        """Keeps what the page shows as a PNG."""
        path = self.pictures / f"{name}_{self.renderer}.png"
        self.page.screenshot(path=path)
        return path
