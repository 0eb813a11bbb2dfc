"""Export a model as one file that both ComfyUI's stock Load Checkpoint and our Load Erase Model open.

    python -m training.export_comfyui --model runs/eradiff/model.safetensors --base 512-inpainting-ema.safetensors \\
        --out eradiff.safetensors                                       # the text encoder comes from the base
    python -m training.export_comfyui --model diffusers_folder --lora runs/eradiff/lora.safetensors \\
        --out eradiff.safetensors                                       # and here from the folder

Its weights have LDM names; the empty prompt's embedding and our configuration travel along.  What the stock loader
could not open or would get wrong is refused before anything is written.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from inpainting_core.checkpoint import DTYPES, Checkpoint, read_checkpoint, write_checkpoint
from inpainting_core.empty_prompt import encode_empty_prompt, text_weights
from inpainting_core.ldm_keys import unet_layout
from training.networks.lora import merge_lora, read_lora
from training.networks.stock_loader import marks, require_stock
from training.networks.text_encoders import for_stock, read_texts, texts_in

NO_TEXT = "none"
NEAR = 0.01  # relative; a prompt that was stored in half precision is within a thousandth of what its encoder gives


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint file, diffusers folder, or a UNet over --base")
    parser.add_argument("--base", help="checkpoint that gives what --model lacks")
    parser.add_argument("--lora", help="LoRA that training wrote, folded into the UNet")
    parser.add_argument(
        "--text-encoder", help="file or folder, or none for a file without; left out: that of --model or --base, if any"
    )
    parser.add_argument("--dtype", default="fp16", choices=DTYPES, help="of the weights (%(default)s)")
    parser.add_argument("--out", required=True, help="the file to write, .safetensors")
    args = parser.parse_args(argv)
    if Path(args.out).suffix != ".safetensors":
        parser.error(f"--out must end in .safetensors, got {args.out}.")
    return args


def checkpoint_of(args: argparse.Namespace) -> Checkpoint:
    """The model, laid over its base, with its LoRA folded in."""
    base = read_checkpoint(args.base) if args.base else None
    checkpoint = read_checkpoint(args.model, base)
    if args.lora is None:
        return checkpoint
    facts = {"lora": Path(args.lora).name, "before": checkpoint.config.training}
    merged = merge_lora(checkpoint.unet, read_lora(args.lora))
    return replace(checkpoint, unet=merged, config=replace(checkpoint.config, training=facts))


def text_of(args: argparse.Namespace, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The text encoders for the file, as the stock loader names them; empty where there are none or none is wanted."""
    if args.text_encoder == NO_TEXT:
        return {}
    if args.text_encoder:
        source, encoders = args.text_encoder, read_texts(Path(args.text_encoder))
    else:
        names = tuple(unet_layout(checkpoint.config.unet))
        found = ((path, texts_in(Path(path), names)) for path in (args.model, args.base) if path)
        source, encoders = next(((path, encoders) for path, encoders in found if encoders), ("", []))
    return for_stock(encoders, checkpoint.config.unet.context_dim, source) if encoders else {}


def with_prompt(checkpoint: Checkpoint, text: dict[str, Tensor]) -> Checkpoint:
    """The checkpoint with the embedding of the empty prompt that its text encoder gives, exactly.

    Raises ValueError where it came with another one, or where there is neither.
    """
    if not text and checkpoint.empty_prompt is None:
        raise ValueError("an export needs the empty prompt: give --text-encoder or a --base that has one, got neither.")
    if not text:
        return checkpoint
    prompt = encode_empty_prompt(text_weights(text), checkpoint.config.unet.context_dim)
    if checkpoint.empty_prompt is not None:
        away = float((checkpoint.empty_prompt.tokens - prompt.tokens).norm() / prompt.tokens.norm())
        if away > NEAR:
            raise ValueError(
                f"the text encoder must give the model's own empty prompt, got one that is {away:.0%} off."
            )
    return replace(checkpoint, empty_prompt=prompt)


def main(args: argparse.Namespace) -> None:
    checkpoint = checkpoint_of(args)
    require_stock(checkpoint, Path(args.model).name)
    dtype = DTYPES[args.dtype]
    text = {key: value.to(dtype) for key, value in text_of(args, checkpoint).items()}
    write_checkpoint(args.out, with_prompt(checkpoint, text), dtype, stock_only=text | marks(checkpoint.config))
    size = Path(args.out).stat().st_size / 1e6
    print(f"Wrote {args.out}: {size:.0f} MB, {'with' if text else 'without'} a text encoder.")


if __name__ == "__main__":
    main(parse_args())
