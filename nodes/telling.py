"""What a node says of its run: in its report, under itself while the graph runs, and in the history."""

from comfy_api.v0_0_2 import io, ui
from comfy_execution.utils import get_executing_context


def report_output() -> io.Output:
    """The output of what a node says; last, because links are stored by position."""
    return io.String.Output(display_name="report", tooltip="What was done and how it turned out, in words.")


def report_of(said: list[str], of: str = "Picture") -> str:
    """One sentence a picture, or a mask, in one text."""
    return said[0] if len(said) == 1 else " ".join(f"{of} {n}: {one}" for n, one in enumerate(said, 1))


def tell(report: str) -> ui.PreviewText:
    """Show a report under the node that is being run; its ``ui`` for the history.

    The page shows a node's PreviewText nowhere but in the history, and its progress text only while the graph runs.
    """
    running = get_executing_context()
    if running is not None:
        from server import PromptServer  # the running server, there is none in a test

        PromptServer.instance.send_progress_text(report, running.node_id)
    return ui.PreviewText(report)
