"""One picture of a folder: read, erased, written; or why not, in a sentence."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from inpainting_core.effects import add_effects
from inpainting_core.erasing import Erased
from inpainting_core.picture_files import check_target, read_mask, read_picture, write_picture
from inpainting_core.telling import percent, sentence, shadow_found
from training.erasing.eraser import Eraser
from training.erasing.pairs import Pair
from training.erasing.table import ERASED, FAILED, NOTHING, WRITING, Row, Table, inputs_of


def attempt(pair: Pair, table: Table, eraser: Eraser | None, overwrite: bool) -> Row:
    """What became of a picture.  What can go wrong with a file or with memory is told in the row; the rest is raised.

    Without an eraser no picture may have a mask.
    """
    inputs = inputs_of(pair)  # before they are read: what changes meanwhile is erased again by the next run
    try:
        if pair.mask is None:
            raise ValueError(pair.problem)
        if not overwrite and not table.may_write(pair):
            raise ValueError(f"{pair.target} is there and not of a former run: move it away, or give --overwrite.")
        row = erase_one(pair, table, eraser, inputs)
    except (RuntimeError, MemoryError) as err:
        if isinstance(err, RuntimeError) and "memory" not in str(err):  # torch has a class for it on CUDA alone
            raise
        torch.cuda.empty_cache()
        row = Row(
            status=FAILED,
            says="memory is too small for it: give --dtype float16, fewer candidates or less --resolution.",
        )
    except (ValueError, OSError) as err:
        row = Row(status=FAILED, says=str(err))
    return replace(row, inputs=inputs)


def erase_one(pair: Pair, table: Table, eraser: Eraser, inputs: str) -> Row:
    """Erase one picture and write it; one whose mask is empty is copied."""
    picture, mask = read_picture(pair.picture), read_mask(pair.mask)
    check_target(pair.target, picture)
    started = perf_counter()
    mask, said = grown_to_effects(picture.image, mask) if eraser.effects else (mask, "")
    erased = eraser.erase(picture.image, mask)
    row = row_of(erased, eraser, perf_counter() - started, said)
    table.write(pair, Row(status=WRITING, inputs=inputs))
    pair.target.parent.mkdir(parents=True, exist_ok=True)
    if erased.crops:
        write_picture(pair.target, erased.image, like=picture, changed=erased.changed)
    else:
        copy(pair.picture, pair.target)
    return row


def grown_to_effects(image: Tensor, mask: Tensor) -> tuple[Tensor, str]:
    """A picture's mask with the shadow of its object, and what was found in words."""
    found = add_effects(image, mask)
    (share,) = found.shares
    return found.masks if share else mask, shadow_found(share)


def row_of(erased: Erased, eraser: Eraser, seconds: float, found: str = "") -> Row:
    """What the table tells of a picture; ``found`` is what was added to its mask, in words."""
    said = [sentence(erased, eraser.steps, seconds, eraser.judged), found if erased.crops else ""]
    sizes = sorted({f"{crop.work_width} x {crop.work_height}" for crop in erased.crops})
    return Row(
        status=ERASED if erased.crops else NOTHING,
        crops=str(len(erased.crops)),
        sizes=", ".join(sizes),
        seconds=f"{seconds:.2f}",
        verdict=verdict_of(erased) if eraser.judged else "",
        says=" ".join(filter(None, said)),
    )


def verdict_of(erased: Erased) -> str:
    """What the detector still sees in the worst of the crops."""
    left = max(erased.left, default=0.0)
    return f"something in {percent(left)} of a hole" if left else "clean"


def copy(picture: Path, target: Path) -> None:
    """A copy of a file, moved into place as a whole."""
    scratch = target.with_name(f".{target.name}.part")
    shutil.copyfile(picture, scratch)
    os.replace(scratch, target)
