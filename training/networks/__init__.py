"""The networks of a run: where it starts, what is added to them, and the files that others open."""
