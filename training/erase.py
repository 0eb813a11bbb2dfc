"""Erase a folder of pictures without ComfyUI.

    python -m training.erase --method yoeo --model nano --images photos --masks masks --out erased
    python -m training.erase --method eradiff --model sd2_inpaint.safetensors --device cuda \\
        --images photos --masks watermark.png --out erased
    python -m training.erase --method yoeo --model yoeo_unet.bin --base sd15_inpaint.safetensors \\
        --images photos --masks masks --out erased --candidates 4 --detector nano

``photos/a/dog.jpg`` with its mask ``masks/a/dog.png`` or ``masks/a/dog_mask.png``, white where to erase, becomes
``erased/a/dog.jpg``.  ``erased/erased.csv`` tells what was done.  A run that was stopped goes on where it stopped.

Exit codes: 0 all done; 1 some pictures failed and are named; 2 nothing was tried; 130 interrupted.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import torch
from tqdm import tqdm

from training.erasing.attempt import attempt
from training.erasing.eraser import load_eraser
from training.erasing.flags import check, parse_args, settings_of
from training.erasing.originals import check_out, refuse_originals
from training.erasing.pairs import Pair, find_pairs, serving_several
from training.erasing.table import ERASED, FAILED, Table
from training.running.precision import told_of_half

INTERRUPTED = 130  # as a shell has it


def main(args: argparse.Namespace) -> int:
    """Erase every picture that is not done yet, and return the exit code."""
    try:
        # 1. whatever can be wrong before weights are loaded
        check(args)
        check_out(args.images, args.masks, args.out)
        pairs, others = find_pairs(args.images, args.masks, args.out)
        refuse_originals(pairs)
        table = Table(args.out, settings_of(args))
        tell_before(pairs, others, args.masks)
        # 2. the weights, where there is something to erase
        work = [pair for pair in pairs if args.again or not table.is_done(pair)]
        eraser = load_eraser(args) if any(pair.mask for pair in work) else None
        if eraser and args.dtype != "float32":
            tell_if_slow(args)
    except (ValueError, OSError, torch.cuda.OutOfMemoryError) as err:
        say(f"training.erase: {err}")
        return 2
    # 3. one picture after another
    counts, code = Counter({"done before": len(pairs) - len(work)}), 0
    try:
        for pair in tqdm(work, unit="picture", disable=not work):
            row = attempt(pair, table, eraser, args.overwrite)
            table.write(pair, row)
            counts[row.status] += 1
            if row.status != ERASED or "?" in row.says:
                say(f"{pair.name}: {row.says}")
        table.ledger.tidy()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as err:  # no room for a row: there is none for pictures either
        say(f"training.erase: {table.ledger.path} cannot be written: {err}")
        code = 1
    # 4. what was done
    counts["not tried"] = len(pairs) - counts.total()
    print(f"{', '.join(f'{n} {what}' for what, n in counts.items() if n)}: see {table.ledger.path}")
    return code or int(counts[FAILED] > 0)


def tell_before(pairs: list[Pair], others: Counter[str], masks: Path) -> None:
    """What a person should know before hours have passed."""
    alone = [pair.name for pair in pairs if pair.mask is None]
    if alone:
        say(f"{len(alone)} of {len(pairs)} pictures will be left, for not exactly one mask was found: {some(alone)}")
    for mask, names in serving_several(pairs).items() if masks.is_dir() else ():
        say(f"{mask} serves {len(names)} pictures: {some(names)}")
    if others:
        say(f"not taken for pictures: {', '.join(f'{n} {what}' for what, n in sorted(others.items()))}")


def tell_if_slow(args: argparse.Namespace) -> None:
    """That a dtype is emulated here."""
    if told := told_of_half(args.device, getattr(torch, args.dtype), "--dtype float32"):
        say(told)


def some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def say(line: str) -> None:
    """Above the progress bar, without breaking it."""
    tqdm.write(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(parse_args(about=__doc__)))
