"""Change what a checkpoint of ours says of itself, and none of its weights.

    python -m training.relabel assets/nano.safetensors --texture copied --draws 2

For what is no matter of training: where a model's fills have their texture from, and how many latents a fill is the
mean of.  What is left out stays.  The file is written anew beside the old one and moved into its place.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from safetensors import safe_open

from inpainting_core.architecture import ModelConfig
from inpainting_core.checkpoint import METADATA
from inpainting_core.state_dicts import write_state_dict
from inpainting_core.texture import TEXTURES


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a .safetensors file that these scripts wrote")
    parser.add_argument("--texture", choices=TEXTURES, help="where its fills have theirs from")
    parser.add_argument("--draws", type=int, help="latents that a fill is the mean of")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    path = Path(args.checkpoint)
    with safe_open(path, "pt") as file:
        stored = (file.metadata() or {}).get(METADATA)
        if stored is None:
            raise SystemExit(
                f"{path} does not say what it holds: only a file that these scripts wrote can be relabelled."
            )
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    config = ModelConfig.from_dict(json.loads(stored))
    said = {name: value for name in ("texture", "draws") if (value := getattr(args, name)) is not None}
    write_state_dict(path, tensors, replace(config, **said).as_dict(), METADATA)
    print(f"{path}: {', '.join(f'{name} {getattr(config, name)} -> {value}' for name, value in said.items())}")


if __name__ == "__main__":
    main(parse_args())
