"""Scripts that train both erasers; each reads top to bottom and owns its loop."""
