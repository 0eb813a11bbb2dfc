"""One node on ComfyUI's page, and what a person does with it; the same words for both renderers."""

from pathlib import Path

from playwright.sync_api import Locator, Page

CANVAS, NODES_2 = "canvas", "nodes2"  # the renderers: nodes drawn on one canvas, or "Nodes 2.0", each an HTML element
ON_SCREEN = """([x, y]) => {
    const frame = app.canvas.canvas.getBoundingClientRect(), {scale, offset} = app.canvas.ds
    return [frame.left + (x + offset[0]) * scale, frame.top + (y + offset[1]) * scale]
}"""
TITLE_AT = "id => { const [x, y] = app.graph.getNodeById(id).pos; return [x + 60, y - 14] }"
WIDGET_AT = """([id, name]) => {
    const node = app.graph.getNodeById(id), widget = node.widgets.find(widget => widget.name === name)
    return [node.pos[0] + node.size[0] / 2, node.pos[1] + widget.last_y + LiteGraph.NODE_WIDGET_HEIGHT / 2]
}"""
LABEL = """([id, name]) => {
    const widget = app.graph.getNodeById(id).widgets.find(widget => widget.name === name)
    return widget.label || name
}"""
VALUE = "app.graph.getNodeById(id).widgets.find(widget => widget.name === name).value"
SHOWS = """([id, name]) => app.graph.getNodeById(id).imgs?.some(
    img => img.src.includes(name) && img.complete && img.naturalWidth)"""
OUTLINED = "id => { const node = app.graph.getNodeById(id); return !!node.strokeStyles.executionError?.call(node) }"


class GraphNode:
    """The node with an id in the open graph."""

    def __init__(self, page: Page, renderer: str, id: int):
        self.page, self.renderer, self.id = page, renderer, id

    @property
    def element(self) -> Locator:
        """Its HTML element, which there is in Nodes 2.0 only."""
        return self.page.locator(f"[data-node-id='{self.id}']")

    def outputs(self) -> list[str]:
        """The names of its outputs."""
        return self.page.evaluate("id => app.graph.getNodeById(id).outputs.map(output => output.name)", self.id)

    def widget(self, name: str) -> Locator:
        """A widget's HTML element, which there is in Nodes 2.0 only; it shows the widget's label."""
        label = self.page.evaluate(LABEL, [self.id, name])
        return self.element.locator(".lg-node-widget").filter(has=self.page.get_by_text(label, exact=True))

    def click_widget(self, name: str) -> None:
        """Clicks the middle of a widget that is drawn on the canvas."""
        self.page.mouse.click(*self.page.evaluate(ON_SCREEN, self.page.evaluate(WIDGET_AT, [self.id, name])))

    def wait_for_value(self, widget: str, test: str, value: object) -> None:
        """Waits until a widget holds a value; ``test`` says in JavaScript what follows its value."""
        self.page.wait_for_function(f"([id, name, value]) => {VALUE}{test}", arg=[self.id, widget, value])

    def select(self) -> Locator:
        """Clicks its title, again where a busy page missed it; the toolbox that comes up over it."""
        toolbox = self.page.locator(".selection-toolbox")
        for _ in range(10):
            self.page.mouse.click(*self.page.evaluate(ON_SCREEN, self.page.evaluate(TITLE_AT, self.id)))
            self.page.wait_for_timeout(500)  # longer than the time between the clicks of a double-click
            if toolbox.is_visible():
                break
        toolbox.wait_for()
        return toolbox

    def delete(self) -> None:
        """Deletes it, the selected node, and waits until its toolbox has gone."""
        self.page.keyboard.press("Delete")
        self.page.wait_for_function("id => !app.graph.getNodeById(id)", arg=self.id)
        self.page.locator(".selection-toolbox").wait_for(state="hidden")

    def set_number(self, widget: str, value: float) -> None:
        """Types a number into a widget."""
        if self.renderer == NODES_2:
            box = self.widget(widget).locator("input")
            box.click(force=True)  # newer pages lay a handle to drag over it, which passes the click on
        else:
            self.click_widget(widget)
            box = self.page.locator(".graphdialog input")
        box.press("Control+a")
        box.press_sequentially(str(value))
        box.press("Enter")
        self.wait_for_value(widget, " === value", value)

    def switch_on(self, widget: str) -> None:
        """Clicks a switch that is off."""
        if self.renderer == NODES_2:
            self.widget(widget).get_by_role("switch").click()
        else:
            self.click_widget(widget)
        self.wait_for_value(widget, " === value", True)

    def upload(self, picture: Path) -> None:
        """Chooses a picture file in a Load Image node, and waits until the node shows it."""
        if self.renderer == NODES_2:
            self.element.locator("input[type=file]").set_input_files(picture)
        else:
            with self.page.expect_file_chooser() as chosen:
                self.click_widget("upload")
            chosen.value.set_files(picture)
        self.wait_for_picture(picture.stem)

    def open_mask_editor(self) -> None:
        """Opens the mask editor on its picture, by the button in the toolbox."""
        self.select().locator("button:has(svg), button:has([class*=mask])").first.click()
        self.page.get_by_role("dialog").get_by_role("button", name="Save").wait_for()

    def save_mask(self) -> None:
        """Saves in the mask editor, and waits until the node holds the painted picture."""
        editor = self.page.get_by_role("dialog")
        editor.get_by_role("button", name="Save").click()
        self.wait_for_value("image", ".startsWith(value)", "clipspace")
        editor.wait_for(state="hidden")

    def wait_for_picture(self, name: str) -> None:
        """Waits until it shows a picture with ``name`` in its file name."""
        if self.renderer == NODES_2:
            picture = self.element.locator(f"img[src*='{name}']")
            picture.wait_for()
            self.page.wait_for_function("img => img.complete && img.naturalWidth", arg=picture.element_handle())
        else:
            self.page.wait_for_function(SHOWS, arg=[self.id, name])

    def wait_until_running(self) -> None:
        """Waits until the page shows that it is being run."""
        self.page.wait_for_function("id => String(app.runningNodeId) === id", arg=str(self.id))

    def has_error(self) -> bool:
        """Whether it is outlined as the node at which the last run failed."""
        if self.renderer == NODES_2:
            return "error" in self.element.get_attribute("class")
        return self.page.evaluate(OUTLINED, self.id)
