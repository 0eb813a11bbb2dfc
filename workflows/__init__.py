"""Example graphs, and what it takes to run them on a real ComfyUI from a script."""
