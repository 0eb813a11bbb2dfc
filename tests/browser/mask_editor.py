"""The mask editor of ComfyUI's page, as far as it takes to paint over an object."""

from playwright.sync_api import Page

BRUSH_PX = 10  # the radius in pixels of the picture that the editor begins with
PLACED = """() => {
    const {x, y, width} = document.querySelector('#maskEditorCanvasContainer').getBoundingClientRect()
    const now = [x, y, width].join()
    window.placedFor = window.lastPlace === now && width ? window.placedFor + 1 : 0
    window.lastPlace = now
    return window.placedFor > 10
}"""


def paint(page: Page, width: int, stroke: list[tuple[float, float]]) -> None:
    """Paints one stroke, points in pixels of the picture, in the open mask editor; the picture is ``width`` wide."""
    page.wait_for_function(PLACED)  # asked once a frame: the editor moves the picture while it opens
    frame = page.locator("#maskEditorCanvasContainer").bounding_box()
    scale = frame["width"] / width
    points = [(frame["x"] + x * scale, frame["y"] + y * scale) for x, y in stroke]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=8)
    page.mouse.up()
