"""The small models that come with the pack, so that everything runs before anything is downloaded."""

from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "assets"

# By the name that Load Erase Model lists them under; saved graphs hold these names, so they stay.
NANO, NANO_ERADIFF = "nano (built in)", "nano EraDiff (built in)"
BUILT_IN = {NANO: ASSETS / "nano.safetensors", NANO_ERADIFF: ASSETS / "nano_eradiff.safetensors"}
NANO_DETECTOR = ASSETS / "nano_detector.safetensors"

# What ``--model nano`` is for each method: the one that was trained for it.
NANO_OF = {"yoeo": NANO, "eradiff": NANO_ERADIFF}
