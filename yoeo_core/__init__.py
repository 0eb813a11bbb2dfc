"""YOEO (CVPR 2026): erasing in two steps."""
