"""What a node says of its run: under itself while the graph runs, and in the history."""

from comfy_api.v0_0_2 import ui
from comfy_execution.utils import get_executing_context


def tell(said: list[str], of: str = "Picture") -> ui.PreviewText:
    """One sentence a picture, or a mask, shown under the node that is being run; its ``ui`` for the history.

    The page shows a node's PreviewText nowhere but in the history.
    """
    text = said[0] if len(said) == 1 else " ".join(f"{of} {n}: {one}" for n, one in enumerate(said, 1))
    running = get_executing_context()
    if running is not None:
        from server import PromptServer  # the running server, there is none in a test

        PromptServer.instance.send_progress_text(text, running.node_id)
    return ui.PreviewText(text)
